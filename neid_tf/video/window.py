"""A window that shows frames as they come."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from PIL import Image

from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import optional_import


class Window:
    """A window; it belongs to the thread that makes it.

    Args:
        title: of the window.

    Raises:
        NeidError: where there is no screen.
        MissingLibraryError: where Python comes without Tk.

    Attributes:
        closed: whether the user has closed it.
    """

    def __init__(self, title: str) -> None:
        with optional_import("a window"):
            import tkinter
        self._tk, self.closed = tkinter, False
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise NeidError(f"no window can be opened: {error}") from error
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        self._label, self._image = tkinter.Label(self._root, borderwidth=0), None
        self._label.pack()

    def write(self, pixels: np.ndarray, seconds: float, shape: Fraction = Fraction(1)) -> None:
        """Show a frame at once.

        Args:
            pixels: H×W×3 uint8.
            seconds: when it is shown in its stream.
            shape: of its pixels, width by height.
        """
        del seconds
        if self.closed:
            return
        if shape != 1:
            size = max(round(pixels.shape[1] * shape), 1), pixels.shape[0]
            pixels = np.asarray(Image.fromarray(pixels).resize(size))
        height, width, _ = pixels.shape
        data = f"P6 {width} {height} 255\n".encode() + pixels.tobytes()
        self._image = self._tk.PhotoImage(data=data)  # Tk does not keep it.
        self._label.configure(image=self._image)
        self.refresh()

    def refresh(self) -> None:
        """Let it answer its user; to be called often."""
        if not self.closed:
            self._root.update()

    def close(self) -> None:
        """Close it."""
        if not self.closed:
            self.closed = True
            self._root.destroy()
