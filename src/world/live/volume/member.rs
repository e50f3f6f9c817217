//! The archive format: tar with PAX records, as a stream of members.
//!
//! The reader is stricter than an ordinary one: content that ends early, a missing end mark and anything after it
//! are errors, and no path leads out of the root. It also takes the engine's archives, whose members lie below a
//! directory of some name: the first member is the root, whatever it is called.

use std::io::{self, ErrorKind, Read, Write};

use tar::{EntryType, Header};

pub const BLOCK: usize = 512;
/// PAX records of one member; no path is longer than 4 KiB.
const MOST_PAX: u64 = 1 << 20;
/// Bounds of the fields of a plain header: seven and eleven octal digits, 100 bytes of a name.
const OCTAL_7: u64 = 1 << 21;
const OCTAL_11: u64 = 1 << 33;
const SHORT_NAME: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    /// `link` is the path of an earlier member.
    HardLink,
    Fifo,
    CharDevice,
    BlockDevice,
}

/// One entry of an archive, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Relative to the root, without `.`; empty for the root itself.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes of content; 0 unless a file.
    pub size: u64,
    /// Seconds since the epoch and nanoseconds.
    pub mtime: (i64, u32),
    /// Target of a link.
    pub link: Vec<u8>,
    /// Major and minor of a device.
    pub device: (u32, u32),
}

impl Member {
    /// A root directory that nothing is known of.
    pub fn root() -> Self {
        let (path, link) = (Vec::new(), Vec::new());
        let kind = Kind::Directory;
        Self { path, kind, mode: 0o700, uid: 0, gid: 0, size: 0, mtime: (0, 0), link, device: (0, 0) }
    }

    /// For messages.
    pub fn name(&self) -> String {
        if self.path.is_empty() { "./".into() } else { String::from_utf8_lossy(&self.path).into_owned() }
    }
}

/// Zeros that fill the last block of a content of `size` bytes.
pub fn padding(size: u64) -> &'static [u8] {
    &[0; BLOCK][..(BLOCK - (size % BLOCK as u64) as usize) % BLOCK]
}

/// Two blocks of zeros: the archive is whole.
pub const END_MARK: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Writes a member's header, with PAX records for what a plain one can't hold. `root` (`./`, `data/`) is put
/// before the path and before a hard link's target.
pub fn write_header(out: &mut dyn Write, root: &str, member: &Member) -> io::Result<()> {
    let mut name = [root.as_bytes(), &member.path].concat();
    if member.kind == Kind::Directory && !member.path.is_empty() {
        name.push(b'/');
    }
    let link = match member.kind {
        Kind::HardLink => [root.as_bytes(), &member.link].concat(),
        _ => member.link.clone(),
    };
    let records = pax_records(member, &name, &link)?;
    if !records.is_empty() {
        let mut header = header(b"./PaxHeader", EntryType::XHeader, records.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        out.write_all(header.as_bytes())?;
        out.write_all(&records)?;
        out.write_all(padding(records.len() as u64))?;
    }
    let mut header = header(&name, entry_type(member.kind), member.size);
    header.set_mode(member.mode);
    header.set_uid(member.uid.into());
    header.set_gid(member.gid.into());
    header.set_mtime(member.mtime.0.max(0) as u64);
    copy_start(&mut header.as_old_mut().linkname, &link);
    header.set_device_major(member.device.0)?;
    header.set_device_minor(member.device.1)?;
    header.set_cksum();
    out.write_all(header.as_bytes())
}

fn header(name: &[u8], kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    copy_start(&mut header.as_old_mut().name, name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn copy_start(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

fn pax_records(member: &Member, name: &[u8], link: &[u8]) -> io::Result<Vec<u8>> {
    let mut records = Vec::new();
    if name.len() > SHORT_NAME {
        pax_record(&mut records, "path", name)?;
    }
    if link.len() > SHORT_NAME {
        pax_record(&mut records, "linkpath", link)?;
    }
    if member.size >= OCTAL_11 {
        pax_record(&mut records, "size", member.size.to_string().as_bytes())?;
    }
    for (key, id) in [("uid", member.uid), ("gid", member.gid)] {
        if u64::from(id) >= OCTAL_7 {
            pax_record(&mut records, key, id.to_string().as_bytes())?;
        }
    }
    let (seconds, nanos) = member.mtime;
    if nanos != 0 || !(0..OCTAL_11 as i64).contains(&seconds) {
        pax_record(&mut records, "mtime", pax_time(seconds, nanos).as_bytes())?;
    }
    Ok(records)
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn pax_record(records: &mut Vec<u8>, key: &str, value: &[u8]) -> io::Result<()> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    write!(records, "{length} {key}=")?;
    records.extend_from_slice(value);
    records.push(b'\n');
    Ok(())
}

/// A decimal number; a moment before 1970 counts its fraction downwards.
fn pax_time(seconds: i64, nanos: u32) -> String {
    match (seconds, nanos) {
        (_, 0) => seconds.to_string(),
        (0.., _) => format!("{seconds}.{nanos:09}"),
        _ => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
    }
}

fn parse_time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    match (whole.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds - 1, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

fn entry_type(kind: Kind) -> EntryType {
    match kind {
        Kind::File => EntryType::Regular,
        Kind::Directory => EntryType::Directory,
        Kind::Symlink => EntryType::Symlink,
        Kind::HardLink => EntryType::Link,
        Kind::Fifo => EntryType::Fifo,
        Kind::CharDevice => EntryType::Char,
        Kind::BlockDevice => EntryType::Block,
    }
}

/// Reads an archive member by member; the content of the current one by [`Read`].
///
/// Errors: `UnexpectedEof` where the archive is cut off, `InvalidData` where it is damaged.
pub struct Members<R> {
    source: R,
    /// Path of the first member, below which all others lie.
    root: Option<Vec<u8>>,
    /// Content and padding of the current member still to come.
    left: u64,
    padding: usize,
    ended: bool,
}

impl<R: Read> Members<R> {
    pub fn new(source: R) -> Self {
        Self { source, root: None, left: 0, padding: 0, ended: false }
    }

    /// The next member; `None` once the end mark and the end of the source are reached.
    pub fn next(&mut self) -> io::Result<Option<Member>> {
        if self.ended {
            return Ok(None);
        }
        self.skip_content()?;
        let mut pax = Pax::default();
        loop {
            let mut block = [0; BLOCK];
            self.source.read_exact(&mut block).map_err(cut_off)?;
            if block == [0; BLOCK] {
                self.end()?;
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            check_sum(header)?;
            match header.entry_type() {
                EntryType::XHeader => pax = self.records(header)?,
                EntryType::XGlobalHeader => drop(self.records(header)?),
                _ => return self.member(header, pax).map(Some),
            }
        }
    }

    fn member(&mut self, header: &Header, pax: Pax) -> io::Result<Member> {
        let kind = kind(header.entry_type())?;
        let size = match kind {
            Kind::File => pax.size.map_or_else(|| header.entry_size(), Ok)?,
            _ => 0,
        };
        let path = relative(&pax.path.unwrap_or_else(|| header.path_bytes().into_owned()))?;
        let path = self.below_root(path, kind)?;
        let mut link = pax.link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        if kind == Kind::HardLink {
            link = self.below_root(relative(&link)?, kind)?;
        }
        let id = |id: u64| u32::try_from(id).map_err(|_| damaged("an owner out of range"));
        self.left = size;
        self.padding = padding(size).len();
        Ok(Member {
            path,
            kind,
            // The engine puts the file's type there as well.
            mode: header.mode()? & 0o7777,
            uid: id(pax.uid.map_or_else(|| header.uid(), Ok)?)?,
            gid: id(pax.gid.map_or_else(|| header.gid(), Ok)?)?,
            size,
            mtime: pax.mtime.map_or_else(|| header.mtime().map(|s| (s as i64, 0)), Ok)?,
            link,
            device: (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)),
        })
    }

    fn below_root(&mut self, path: Vec<u8>, kind: Kind) -> io::Result<Vec<u8>> {
        let Some(root) = &self.root else {
            if kind != Kind::Directory {
                return Err(damaged("the first member is not the root directory"));
            }
            self.root = Some(path);
            return Ok(Vec::new());
        };
        let below = match path.strip_prefix(root.as_slice()) {
            Some(rest) if root.is_empty() => Some(rest),
            Some(rest) => rest.strip_prefix(b"/"),
            None => None,
        };
        match below {
            Some(below) if !below.is_empty() => Ok(below.to_vec()),
            _ => Err(damaged(format!("{} does not lie below the root", String::from_utf8_lossy(&path)))),
        }
    }

    fn records(&mut self, header: &Header) -> io::Result<Pax> {
        let size = header.entry_size()?;
        if size > MOST_PAX {
            return Err(damaged("an extended header of impossible size"));
        }
        let mut bytes = vec![0; size as usize + padding(size).len()];
        self.source.read_exact(&mut bytes).map_err(cut_off)?;
        Pax::parse(&bytes[..size as usize]).ok_or_else(|| damaged("an extended header that can't be read"))
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let mut buffer = [0; 32 << 10];
        while self.read(&mut buffer)? > 0 {}
        self.source.read_exact(&mut buffer[..self.padding]).map_err(cut_off)?;
        self.padding = 0;
        Ok(())
    }

    /// Reads the second zero block and on to the source's end, so that a checksum there is looked at, too.
    fn end(&mut self) -> io::Result<()> {
        let mut buffer = [0; 10 << 10];
        self.source.read_exact(&mut buffer[..BLOCK]).map_err(cut_off)?;
        let mut read = BLOCK;
        while read > 0 {
            if buffer[..read].iter().any(|b| *b != 0) {
                return Err(damaged("something follows the end mark"));
            }
            read = self.source.read(&mut buffer)?;
        }
        self.ended = true;
        Ok(())
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.left.min(buffer.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(cut_off(ErrorKind::UnexpectedEof.into()));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
}

impl Pax {
    /// Goes by each record's length: a name may contain a newline.
    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let digits = bytes.iter().position(|b| *b == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()?;
            let record = bytes.get(digits + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|b| *b == b'=')?;
            pax.set(&record[..equals], &record[equals + 1..])?;
            bytes = &bytes[length..];
        }
        Some(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = || std::str::from_utf8(value).ok();
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(text()?.parse().ok()?),
            b"uid" => self.uid = Some(text()?.parse().ok()?),
            b"gid" => self.gid = Some(text()?.parse().ok()?),
            b"mtime" => self.mtime = Some(parse_time(text()?)?),
            key if key.starts_with(b"GNU.sparse.") => return None,
            _ => {}
        }
        Some(())
    }
}

fn kind(kind: EntryType) -> io::Result<Kind> {
    Ok(match kind {
        EntryType::Regular => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => Kind::CharDevice,
        EntryType::Block => Kind::BlockDevice,
        other => return Err(damaged(format!("a member of unknown type {:?}", other.as_byte() as char))),
    })
}

/// The path without `.` and doubled slashes; one that is absolute or climbs is refused.
fn relative(path: &[u8]) -> io::Result<Vec<u8>> {
    let shown = || String::from_utf8_lossy(path).into_owned();
    if path.starts_with(b"/") || path.contains(&0) {
        return Err(damaged(format!("an absolute or broken path: {}", shown())));
    }
    let mut parts = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(damaged(format!("a path that leads out of the root: {}", shown()))),
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

fn check_sum(header: &Header) -> io::Result<()> {
    let bytes = header.as_bytes();
    let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
    match header.cksum() {
        Ok(written) if written == sum => Ok(()),
        _ => Err(damaged("a member's header has a wrong checksum")),
    }
}

fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}

fn cut_off(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(ErrorKind::UnexpectedEof, "the archive ends in the middle"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Member {
        Member { mode: 0o1700, uid: 70, gid: 70, mtime: (5, 0), ..Member::root() }
    }

    fn member(path: &[u8], kind: Kind) -> Member {
        Member { path: path.to_vec(), kind, mode: 0o644, ..root() }
    }

    fn archive(name: &str, members: &[Member]) -> Vec<u8> {
        let mut out = Vec::new();
        for member in members {
            write_header(&mut out, name, member).unwrap();
        }
        out.extend(END_MARK);
        out
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<Member>> {
        let mut members = Members::new(bytes);
        let mut found = Vec::new();
        while let Some(member) = members.next()? {
            found.push(member);
        }
        Ok(found)
    }

    #[test]
    fn everything_a_member_can_be_survives() {
        let long = [b"d/".as_slice(), &[b'x'; 240]].concat();
        let members = [
            root(),
            Member { uid: 3_000_000_000, gid: 2_097_152, mtime: (-2, 500_000_000), ..member(&long, Kind::File) },
            Member { mode: 0o4755, mtime: (1_700_000_000, 1), ..member(b"non-utf8 \xff\xfe", Kind::File) },
            Member {
                mtime: (OCTAL_11 as i64 + 1, 0),
                ..member(&[b"new\nline ".as_slice(), &long].concat(), Kind::Fifo)
            },
            Member { link: [b"../../".as_slice(), &[b'y'; 300]].concat(), ..member(b"symlink", Kind::Symlink) },
            Member { link: long.clone(), ..member(b"hard", Kind::HardLink) },
            Member { device: (10, 229), mtime: (-1, 0), ..member(b"device", Kind::CharDevice) },
            member(&[b'z'; 98], Kind::Directory),
            member(&[b'z'; 99], Kind::Directory),
        ];
        assert_eq!(read(&archive("./", &members)).unwrap(), members);
        assert_eq!(read(&archive("data/", &members)).unwrap(), members);
    }

    #[test]
    fn a_file_of_more_than_8_gib_has_its_size_in_a_record() {
        let huge = Member { size: OCTAL_11 + 7, ..member(b"huge", Kind::File) };
        let mut out = Vec::new();
        write_header(&mut out, "./", &root()).unwrap();
        write_header(&mut out, "./", &huge).unwrap();
        assert!(out.windows(15).any(|w| w == b"size=8589934599"));
        let zeros = io::repeat(0).take(OCTAL_11 + 7 + padding(huge.size).len() as u64);
        let mut members = Members::new(out.chain(zeros).chain(&END_MARK[..]));
        assert_eq!((members.next().unwrap().unwrap(), members.next().unwrap().unwrap()), (root(), huge));
    }

    trait Chain {
        fn chain<R: Read>(&self, next: R) -> io::Chain<&[u8], R>;
    }

    impl Chain for Vec<u8> {
        fn chain<R: Read>(&self, next: R) -> io::Chain<&[u8], R> {
            Read::chain(self.as_slice(), next)
        }
    }

    #[test]
    fn an_archive_cut_anywhere_is_cut_off() {
        let whole = archive("./", &[root(), Member { mtime: (1, 2), ..member(b"file", Kind::Fifo) }]);
        for length in (0..whole.len()).step_by(64).chain([whole.len() - 1]) {
            assert_eq!(read(&whole[..length]).unwrap_err().kind(), ErrorKind::UnexpectedEof, "{length}");
        }
        let more = [whole.as_slice(), b"more"].concat();
        assert_eq!(read(&more).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["/etc/passwd", "../x", "a/../../x"] {
            let mut header = header(path.as_bytes(), EntryType::Regular, 0);
            header.set_mode(0o600);
            header.set_cksum();
            let mut bytes = Vec::new();
            write_header(&mut bytes, "./", &root()).unwrap();
            bytes.extend(header.as_bytes());
            bytes.extend(END_MARK);
            assert_eq!(read(&bytes).unwrap_err().kind(), ErrorKind::InvalidData, "{path}");
        }
        let climbing = Member { link: b"../../etc/shadow".to_vec(), ..member(b"hard", Kind::HardLink) };
        assert_eq!(read(&archive("./", &[root(), climbing])).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn times_are_decimal_numbers() {
        for time in [(0, 0), (1, 1), (-1, 0), (-1, 999_999_999), (-2, 250_000_000), (1_700_000_000, 123_456_789)] {
            assert_eq!(parse_time(&pax_time(time.0, time.1)), Some(time));
        }
        assert_eq!(pax_time(-1, 999_999_999), "-0.000000001");
        assert_eq!(parse_time("12.5"), Some((12, 500_000_000)));
        assert_eq!((parse_time("x"), parse_time("1.-5")), (None, None));
    }
}
