//! `--disk-max`: how much a run's folder may have.

use clap::Args;

use wasm_engine_core::run_dir::DiskMax;

/// Option for how much of the disk a run may use.
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

/// Parses a size, which must not be 0.
fn parse_size(text: &str) -> Result<u64, String> {
    wasm_engine_files::parse_size(text)
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| "write a whole number of bytes, or of kB, MB, GB, TB, KiB, MiB, GiB or TiB".to_owned())
}
