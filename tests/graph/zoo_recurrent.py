"""A text reader: columns of a feature map as a sequence, through LSTM and GRU."""

from __future__ import annotations

from torch import Tensor, nn


class Reader(nn.Module):
    """Convolutions, height averaged away, a bidirectional LSTM, a GRU, scores a column."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU()
        )
        self.lstm = nn.LSTM(16, 8, bidirectional=True, batch_first=batch_first)
        self.gru = nn.GRU(16, 8, batch_first=batch_first)
        self.scores = nn.Linear(8, 11)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, 3, H, W] -> scores [N, W / 4, 11]."""
        columns = self.features(x).mean(2).transpose(1, 2)
        if self.batch_first:
            return self.scores(self.gru(self.lstm(columns)[0])[0])
        y, _ = self.lstm(columns.transpose(0, 1))
        y, _ = self.gru(y)
        return self.scores(y.transpose(0, 1))
