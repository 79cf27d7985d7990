"""PNG in few colours: a page of text needs no more, and takes a third of the room.

The browser that made the picture counts its colours, because it can read pixels; what is left is to write the file (PNG
specification, sections 5 and 11).
"""

import base64
import struct
import zlib

MOST_COLOURS = 160

# Width, height, the colours that occur most, and for each pixel the number of its nearest one.
REDUCE = """async ([encoded, most]) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${encoded}`)).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
    const counts = new Map();
    for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) || 0) + 1);
    const colours = [...counts].sort((one, other) => other[1] - one[1]).slice(0, most).map(([pixel]) => pixel);
    const parts = (pixel) => [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
    const kept = colours.map(parts);
    const nearest = new Map();
    for (const pixel of counts.keys()) {
        const [red, green, blue] = parts(pixel);
        const distances = kept.map(([r, g, b]) => (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2);
        nearest.set(pixel, distances.indexOf(Math.min(...distances)));
    }
    let indexes = '';
    for (const pixel of pixels) indexes += String.fromCharCode(nearest.get(pixel));
    return [bitmap.width, bitmap.height, kept, btoa(indexes)];
}"""


def small(page, png):
    """The same picture with the colours that occur most. The blank page beside `page` has no policy that forbids to read it."""
    blank = page.context.new_page()
    width, height, colours, indexes = blank.evaluate(REDUCE, [base64.b64encode(png).decode(), MOST_COLOURS])
    blank.close()
    indexes = base64.b64decode(indexes)
    lines = b"".join(b"\0" + indexes[row * width : (row + 1) * width] for row in range(height))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            chunk(b"PLTE", bytes(part for colour in colours for part in colour)),
            chunk(b"IDAT", zlib.compress(lines, 9)),
            chunk(b"IEND", b""),
        )
    )


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
