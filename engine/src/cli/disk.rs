//! `--disk-max`: how much a run's folder may have.

use clap::Args;

use crate::run_dir::DiskMax;

/// How much of the disk.
#[derive(Debug, Args)]
pub(super) struct DiskArgs {
    /// End the run before its folder has more bytes than this, so that `resume` can go on with it; such as 500MB or 2GiB
    /// [default: as much as leaves 1 GiB of the disk free, or a tenth of a small one]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    disk_max: Option<u64>,
}

impl DiskArgs {
    pub fn disk_max(&self) -> DiskMax {
        self.disk_max.map_or(DiskMax::LeavesFree, DiskMax::Bytes)
    }
}

/// Units, and their bytes.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("", 1),
];

/// A size: a whole number, and perhaps a unit.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
    let bytes = unit.and_then(|(_, bytes)| number.parse::<u64>().ok()?.checked_mul(*bytes));
    bytes
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| "write a whole number of bytes, or of kB, MB, GB, TB, KiB, MiB, GiB or TiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let sizes = [("1", 1), ("64KiB", 65_536), ("10 MB", 10_000_000), ("2gib", 2 << 30), ("1TB", 1_000_000_000_000)];
        for (text, bytes) in sizes {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "0", "MB", "-1", "1.5GB", "1 parsec", "99999999999TB", "٣"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
