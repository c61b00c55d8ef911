"""A parametric face renderer: anatomy, relief, features, hair, accessories, backdrop and camera.

Every face is drawn in its own frame first: frontal, upright, the origin midway between the eyes, x to the
right, y down, one unit = one pixel of a 128 x 128 picture. The camera then turns the drawing in depth, places
it and takes the picture. :mod:`facehall_env.datasets.synthetic` is the public door.
"""

from facehall_env.datasets._faces.renderer import face_landmarks, render_face

__all__ = ["face_landmarks", "render_face"]
