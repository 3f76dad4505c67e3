"""Convolution in groups: each group by itself; and depthwise, where every channel is one: sums of shifted rows."""
