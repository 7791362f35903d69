"""Furniture: each function draws one thing and adds it to the room, if there is a place for it."""

import math

from mtcp.data.rendering.room import Room, Standing, box
from mtcp.data.rendering.shapes import Box, Capsule, Cylinder, Shape, Vector


def bed(room: Room) -> None:
    """A bed with its head and a pillow, against a wall."""
    draw = room.draw
    wide, long, top = draw.uniform(0.5, 0.9), draw.uniform(0.95, 1.1), draw.uniform(0.4, 0.6)
    if place := room.against_wall(wide, long):
        room.add(
            "bed", room.material(),
            box(place, (0, -top / 2, 0), (wide, top / 2, long)),
            box(place, (0, -top / 2 - 0.25, 0.04 - long), (wide, top / 2 + 0.25, 0.05)),
        )  # fmt: skip
        room.add("bed", room.material(), box(place, (0, -top - 0.06, 0.35 - long), (0.7 * wide, 0.07, 0.2)))


def sofa(room: Room) -> None:
    """A sofa against a wall."""
    draw = room.draw
    wide, deep, seat = draw.uniform(0.7, 1.1), draw.uniform(0.4, 0.5), draw.uniform(0.38, 0.48)
    if place := room.against_wall(wide, deep):
        back = draw.uniform(0.75, 0.95)
        room.add(
            "sofa", room.material(),
            box(place, (0, -seat / 2, 0), (wide, seat / 2, deep)),
            box(place, (0, -back / 2, 0.1 - deep), (wide, back / 2, 0.12)),
            box(place, (0.1 - wide, -0.31, 0), (0.1, 0.31, deep)),
            box(place, (wide - 0.1, -0.31, 0), (0.1, 0.31, deep)),
        )  # fmt: skip


def cabinet(room: Room) -> None:
    """A cabinet against a wall, with a screen or other things on it if it is low."""
    draw = room.draw
    wide, deep, high = draw.uniform(0.35, 0.8), draw.uniform(0.2, 0.35), draw.uniform(0.7, 2.0)
    if place := room.against_wall(wide, deep):
        room.add("furniture", room.material(), box(place, (0, -high / 2, 0), (wide, high / 2, deep)))
        if high < 1.2 and draw.random() < 0.5:
            tv(room, place, high, wide)
        elif high < 1.5:
            clutter(room, place, high, wide, deep)


def tv(room: Room, place: Standing, top: float, widest: float) -> None:
    """A screen on a surface at height `top`, with a half width of about `widest` at most."""
    wide, high = room.draw.uniform(0.3, max(0.31, widest)), room.draw.uniform(0.2, 0.35)
    room.add(
        "tv", room.material(low=0.02, high=0.12),
        box(place, (0, -top - high - 0.04, 0), (wide, high, 0.04)),
        box(place, (0, -top - 0.04, 0), (0.1, 0.04, 0.08)),
    )  # fmt: skip


def table(room: Room, place: Standing, wide: float, deep: float, high: float) -> None:
    """A plate on two panels."""
    room.add(
        "table", room.material(),
        box(place, (0, -high + 0.04, 0), (wide, 0.04, deep)),
        *(box(place, (side * 0.85 * wide, -high / 2, 0), (0.05, high / 2, 0.8 * deep)) for side in (-1, 1)),
    )  # fmt: skip
    clutter(room, place, high, wide, deep)


def desk(room: Room) -> None:
    """A table against a wall."""
    wide, deep = room.draw.uniform(0.5, 0.8), room.draw.uniform(0.3, 0.4)
    if place := room.against_wall(wide, deep):
        table(room, place, wide, deep, room.draw.uniform(0.68, 0.78))


def dining(room: Room) -> None:
    """A table in the open."""
    draw = room.draw
    wide, deep = draw.uniform(0.4, 0.8), draw.uniform(0.35, 0.5)
    if spot := room.in_the_open(max(wide, deep) + 0.15):
        place = (*spot, draw.uniform(-math.pi, math.pi))
        table(room, place, wide, deep, draw.uniform(0.45, 0.78))


def chair(room: Room) -> None:
    """A chair in the open."""
    draw = room.draw
    if not (spot := room.in_the_open(0.32)):
        return
    place = (*spot, draw.uniform(-math.pi, math.pi))
    wide, seat, back = draw.uniform(0.22, 0.3), draw.uniform(0.4, 0.5), draw.uniform(0.8, 1.05)
    room.add(
        "chair", room.material(),
        box(place, (0, -seat, 0), (wide, 0.06, wide)),
        box(place, (0, -(seat + back) / 2, -wide), (wide, (back - seat) / 2, 0.05)),
        Cylinder((spot[0], -seat / 2, spot[1]), 0.07, seat / 2),
    )  # fmt: skip


def clutter(room: Room, place: Standing, top: float, wide: float, deep: float) -> None:
    """Put up to two things on a surface at height `top`."""
    draw = room.draw
    for _ in range(int(draw.random() * 3)):
        x, z = draw.uniform(-0.8, 0.8) * wide, draw.uniform(-0.7, 0.7) * deep
        if draw.random() < 0.4:
            books(room, place, x, z, top)
        else:
            lifted = box(place, (x, -top, z), (0.0, 0.0, 0.0)).centre
            thing(room, lifted, draw.uniform(0.08, 0.18))


def books(room: Room, place: Standing, x: float, z: float, top: float) -> None:
    """Two or three books side by side."""
    draw = room.draw
    for _ in range(2 + int(draw.random() * 2)):
        thick, high = draw.uniform(0.03, 0.07), draw.uniform(0.12, 0.2)
        room.add("books", room.material(), box(place, (x, -top - high, z), (thick, high, 0.1)))
        x += 2 * thick + 0.005


def thing_on_floor(room: Room) -> None:
    """A thing on the floor."""
    size = room.draw.uniform(0.14, 0.32)
    if spot := room.in_the_open(size):
        thing(room, (spot[0], 0.0, spot[1]), size)


def thing(room: Room, foot: Vector, size: float) -> None:
    """A ball, a can or a parcel of about `size` metres that stands on `foot`."""
    draw = room.draw
    x, y, z = foot
    kind = draw.random()
    if kind < 0.35:
        shape: Shape = Capsule((x, y - size, z), (x, y - size, z), size)
    elif kind < 0.7:
        shape = Cylinder((x, y - 1.3 * size, z), 0.7 * size, 1.3 * size)
    else:
        shape = Box((x, y - 0.8 * size, z), (size, 0.8 * size, 0.7 * size), draw.uniform(-math.pi, math.pi))
    room.add("objects", room.material(), shape)
