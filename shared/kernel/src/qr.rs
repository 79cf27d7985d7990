//! A QR code, drawn: for a page (SVG, PNG) and for a terminal.

use qrcode::QrCode;
use qrcode::types::Color;

/// The quiet zone around a code, in modules (ISO/IEC 18004).
const QUIET: usize = 4;

/// Points of a PNG per module.
const POINTS: usize = 6;

/// The code of a text, as a square of modules.
pub struct Drawing {
    width: usize,
    dark: Vec<bool>,
}

impl Drawing {
    /// `None` for a text that is too long for any code.
    pub fn of(text: &str) -> Option<Self> {
        let code = QrCode::new(text).ok()?;
        let (inner, modules) = (code.width(), code.to_colors());
        let width = inner + 2 * QUIET;
        let mut dark = vec![false; width * width];
        for (place, module) in modules.into_iter().enumerate() {
            dark[(place / inner + QUIET) * width + place % inner + QUIET] = module == Color::Dark;
        }
        Some(Self { width, dark })
    }

    fn is_dark(&self, row: usize, column: usize) -> bool {
        row < self.width && self.dark[row * self.width + column]
    }

    /// As SVG, in black on white.
    pub fn svg(&self) -> String {
        let mut path = String::new();
        for row in 0..self.width {
            for column in (0..self.width).filter(|column| self.is_dark(row, *column)) {
                path.push_str(&format!("M{column} {row}h1v1h-1z"));
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {0}\" width=\"{1}\" height=\"{1}\" \
             shape-rendering=\"crispEdges\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/><path d=\"{path}\"/></svg>",
            self.width,
            self.width * POINTS
        )
    }

    /// For a terminal, two rows of modules in one of characters. Dark modules are blank, as terminals are mostly dark.
    pub fn terminal(&self) -> String {
        let mut drawn = String::new();
        for row in (0..self.width).step_by(2) {
            for column in 0..self.width {
                let below = row + 1 < self.width && !self.is_dark(row + 1, column);
                drawn.push(match (!self.is_dark(row, column), below) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            drawn.push('\n');
        }
        drawn
    }

    /// As PNG (ISO/IEC 15948) with one bit per point, not compressed: it has some 10 KiB and is looked at once.
    pub fn png(&self) -> Vec<u8> {
        let side = self.width * POINTS;
        let mut points = Vec::with_capacity(side * (side / 8 + 2));
        for y in 0..side {
            points.push(0); // This row is not filtered.
            for byte in 0..side.div_ceil(8) {
                let bits = (0..8).map(|bit| byte * 8 + bit).map(|x| x >= side || !self.is_dark(y / POINTS, x / POINTS));
                points.push(bits.fold(0_u8, |byte, is_light| byte << 1 | u8::from(is_light)));
            }
        }
        let side = u32::try_from(side).unwrap_or(u32::MAX).to_be_bytes();
        // One bit, greyscale, and the only methods that there are.
        let header = [&side[..], &side[..], &[1, 0, 0, 0, 0]].concat();
        let mut png = vec![0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
        chunk(&mut png, *b"IHDR", &header);
        chunk(&mut png, *b"IDAT", &stored(&points));
        chunk(&mut png, *b"IEND", &[]);
        png
    }
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    png.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    let begins = png.len();
    png.extend(kind);
    png.extend(data);
    let check = crc32(&png[begins..]);
    png.extend(check.to_be_bytes());
}

/// A zlib stream (RFC 1950) of blocks that are stored as they are (RFC 1951, section 3.2.4).
fn stored(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let blocks = data.chunks(usize::from(u16::MAX));
    let last = blocks.len().saturating_sub(1);
    for (number, block) in blocks.enumerate() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(number == last));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler32(data).to_be_bytes());
    stream
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn adler32(data: &[u8]) -> u32 {
    let (low, high) = data.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_code_is_drawn_in_three_ways() {
        let drawing = Drawing::of("2@mJx,abc==").expect("it is short");
        assert!(drawing.svg().starts_with("<svg ") && drawing.svg().contains("h1v1h-1z"));
        let terminal = drawing.terminal();
        let lines: Vec<&str> = terminal.lines().collect();
        assert_eq!(lines.len(), drawing.width.div_ceil(2));
        assert!(lines.iter().all(|line| line.chars().count() == drawing.width));
        assert!(lines[0].chars().all(|character| character == '█'), "the quiet zone is light");
        let png = drawing.png();
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&png[png.len() - 8..png.len() - 4], b"IEND");
        assert!(Drawing::of(&"x".repeat(5_000)).is_none());
    }
}
