//! Zip archives of a few small files, stored as they are (APPNOTE.TXT 6.3.10): no compression, no encryption, no 64-bit
//! extensions. Names are UTF-8; times are left at the first one that the format knows, so that equal files give equal bytes.

use flate2::Crc;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
/// Version 2.0: files and folders.
const VERSION: u16 = 20;
/// Names are UTF-8.
const UTF8: u16 = 1 << 11;
/// 1980-01-01.
const FIRST_DAY: u16 = (1 << 5) | 1;

/// An archive that is being written.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    files: u16,
}

impl Archive {
    /// Adds a file.
    ///
    /// # Panics
    /// With 65,536 files, a name of 64 KiB, or 4 GiB in all: callers keep far below.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) {
        let offset = u32::try_from(self.bytes.len()).expect("archives are small");
        let mut crc = Crc::new();
        crc.update(content);
        let mut about = Vec::new();
        for word in [VERSION, UTF8, 0, 0, FIRST_DAY] {
            about.extend(word.to_le_bytes());
        }
        let size = u32::try_from(content.len()).expect("files are small");
        for word in [crc.sum(), size, size] {
            about.extend(word.to_le_bytes());
        }
        about.extend(u16::try_from(name.len()).expect("names are short").to_le_bytes());
        about.extend(0_u16.to_le_bytes());

        self.bytes.extend(LOCAL.to_le_bytes());
        self.bytes.extend(&about);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(content);

        self.directory.extend(CENTRAL.to_le_bytes());
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(&about);
        // No comment, the first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.files = self.files.checked_add(1).expect("archives have few files");
    }

    /// The whole archive.
    pub(super) fn finish(self) -> Vec<u8> {
        let Archive { mut bytes, directory, files } = self;
        let size = u32::try_from(directory.len()).expect("archives are small");
        let offset = u32::try_from(bytes.len()).expect("archives are small");
        bytes.extend(directory);
        bytes.extend(END.to_le_bytes());
        bytes.extend([0; 4]);
        for count in [files, files] {
            bytes.extend(count.to_le_bytes());
        }
        for word in [size, offset] {
            bytes.extend(word.to_le_bytes());
        }
        // No comment.
        bytes.extend([0; 2]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What another writer of the format makes of the same two files.
    const EXPECTED: &str = include_str!("zip/expected.hex");

    #[test]
    fn an_archive_is_what_others_write() {
        let mut archive = Archive::default();
        archive.file("a.txt", b"hello\n");
        archive.file("b/\u{e4}.txt", b"");
        let pairs = EXPECTED.trim().as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let expected: Vec<u8> = pairs.filter_map(byte).collect();
        assert_eq!(archive.finish(), expected);
    }
}
