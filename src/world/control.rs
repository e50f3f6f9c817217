//! A cluster's control file, `global/pg_control`, as `pg_controldata` reads it: in which state the cluster is, without
//! a program of its version.

/// Where it is below the data directory.
pub const PATH: &str = "global/pg_control";

/// A server writes no more of it than one sector.
const MOST: usize = 512;
const VERSION_AT: usize = 8;
const STATE_AT: usize = 16;
const CHECKPOINT_AT: usize = 32;
/// From 11 on there is no earlier checkpoint between the last one's location and its content.
const WITHOUT_EARLIER: u32 = 1100;
/// From 12 on the next transaction's number is one number, with its epoch.
const WITH_EPOCH: u32 = 1201;

/// The state after a clean stop.
pub const SHUT_DOWN: &str = "shut down";
/// As `pg_controldata` calls them, in the order of the server's enumeration.
pub const STATES: [&str; 7] = [
    "starting up",
    SHUT_DOWN,
    "shut down in recovery",
    "shutting down",
    "in crash recovery",
    "in archive recovery",
    "in production",
];

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlFile {
    pub system_identifier: u64,
    /// See [`STATES`].
    pub state: &'static str,
    /// Where the last checkpoint's record is in the log, and where recovery from it would begin.
    pub checkpoint: u64,
    pub redo: u64,
    pub timeline: u32,
    /// Number of the next transaction, with its epoch, at the last checkpoint.
    pub next_xid: u64,
}

impl ControlFile {
    /// Of a cluster of version 9.3 or later; `None` unless the checksum, which stands behind whatever fields the
    /// version has, is that of what is before it.
    ///
    /// Source: PostgreSQL's `src/include/catalog/pg_control.h`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = &bytes[..MOST.min(bytes.len())];
        let is_checksum = |at: usize| word(bytes, at) == Some(crc32c::crc32c(&bytes[..at]));
        if !(CHECKPOINT_AT..bytes.len().saturating_sub(3)).step_by(4).any(is_checksum) {
            return None;
        }
        let version = word(bytes, VERSION_AT)?;
        let content = if version < WITHOUT_EARLIER { CHECKPOINT_AT + 16 } else { CHECKPOINT_AT + 8 };
        let next_xid = match version < WITH_EPOCH {
            true => u64::from(word(bytes, content + 20)?) << 32 | u64::from(word(bytes, content + 24)?),
            false => long(bytes, content + 24)?,
        };
        Some(Self {
            system_identifier: long(bytes, 0)?,
            state: STATES.get(word(bytes, STATE_AT)? as usize)?,
            checkpoint: long(bytes, CHECKPOINT_AT)?,
            redo: long(bytes, content)?,
            timeline: word(bytes, content + 8)?,
            next_xid,
        })
    }
}

/// In which state a cluster is, for a person.
pub fn state_of(control: Option<&ControlFile>) -> &'static str {
    control.map_or("not to be read", |control| control.state)
}

/// A place in the log, as the server writes it.
pub fn lsn(place: u64) -> String {
    format!("{:X}/{:X}", place >> 32, place & 0xFFFF_FFFF)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a field is, and its bytes.
    type Field<'b> = (usize, &'b [u8]);

    /// A file with these fields, and a checksum at `end`.
    fn file(version: u32, fields: &[Field<'_>], end: usize) -> Vec<u8> {
        let mut bytes = vec![0; 8192];
        bytes[VERSION_AT..VERSION_AT + 4].copy_from_slice(&version.to_le_bytes());
        for (at, value) in fields {
            bytes[*at..at + value.len()].copy_from_slice(value);
        }
        let checksum = crc32c::crc32c(&bytes[..end]);
        bytes[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn the_fields_are_where_each_version_has_them() {
        let (id, state) = (7_000_000_000_000_000_001_u64.to_le_bytes(), 1_u32.to_le_bytes());
        let (checkpoint, redo) = (0x2_0000_0060_u64.to_le_bytes(), 0x2_0000_0028_u64.to_le_bytes());
        let (timeline, xid) = (3_u32.to_le_bytes(), (5_u64 << 32 | 77).to_le_bytes());
        let (epoch, low) = (5_u32.to_le_bytes(), 77_u32.to_le_bytes());
        let head: [Field<'_>; 3] = [(0, &id), (16, &state), (32, &checkpoint)];
        let old: [Field<'_>; 4] = [(48, &redo), (56, &timeline), (68, &epoch), (72, &low)];
        let eleven: [Field<'_>; 4] = [(40, &redo), (48, &timeline), (60, &epoch), (64, &low)];
        let new: [Field<'_>; 3] = [(40, &redo), (48, &timeline), (64, &xid)];
        let expected = ControlFile {
            system_identifier: 7_000_000_000_000_000_001,
            state: SHUT_DOWN,
            checkpoint: 0x2_0000_0060,
            redo: 0x2_0000_0028,
            timeline: 3,
            next_xid: 5 << 32 | 77,
        };
        for (version, fields) in [(1002, &old[..]), (1100, &eleven), (1300, &new), (1800, &new)] {
            let found = ControlFile::parse(&file(version, &[&head, fields].concat(), 292));
            assert_eq!(found.as_ref(), Some(&expected), "{version}");
        }
    }

    #[test]
    fn a_damaged_file_says_nothing() {
        let mut bytes = file(1300, &[(16, &[1])], 288);
        assert_eq!(ControlFile::parse(&bytes).unwrap().state, "shut down");
        bytes[100] ^= 1;
        assert_eq!(ControlFile::parse(&bytes), None);
        assert_eq!(ControlFile::parse(&[]), None);
        assert_eq!(ControlFile::parse(&[0; 8192]), None);
        assert_eq!(ControlFile::parse(&file(1300, &[(16, &[9])], 288)), None);
    }

    #[test]
    fn a_place_in_the_log_is_written_as_the_server_does() {
        assert_eq!(lsn(0x16_B374_D848), "16/B374D848");
    }
}
