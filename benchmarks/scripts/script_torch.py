"""Import, fit 1,000 windows for one epoch, predict: as users of PyTorch write it."""

import numpy as np
import torch

torch.manual_seed(0)

series = np.sin(np.arange(1060) / 7).astype(np.float32)
X = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(series[:-1], 60)[:1000, :, None].copy())
y = torch.from_numpy(series[60:1060].copy())


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(1, 64, batch_first=True)
        self.dense = torch.nn.Linear(64, 1)

    def forward(self, x):
        return self.dense(self.lstm(x)[0][:, -1])[:, 0]


model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
for rows in torch.randperm(1000).split(64):
    loss = torch.nn.functional.mse_loss(model(X[rows]), y[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.eval()
with torch.inference_mode():
    prediction = model(X).numpy()
print(prediction.shape, float(np.mean((prediction - y.numpy()) ** 2)))
