//! Standard input, or a pipe, with reads that can be interrupted: a thread reads it, and the run waits for the thread only until
//! the run is asked to end.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::threads;

/// Size of one block, in bytes.
const BLOCK_BYTES: usize = 64 << 10;
/// Number of blocks that may wait for the run.
const BLOCKS_MAX: usize = 4;
/// Interval at which a waiting run checks whether it is asked to end.
const POLL: Duration = Duration::from_millis(50);

/// A reader of a stream. It ends with the stream, or once the flag `interrupted` is set.
pub(super) struct InterruptibleReader {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    at: usize,
    interrupted: Arc<AtomicBool>,
}

impl InterruptibleReader {
    /// Starts the thread that reads what `open` returns. It ends with its input, or with the process.
    ///
    /// # Errors
    /// Fails if the thread can't be started.
    pub fn start<R: Read>(
        open: impl FnOnce() -> io::Result<R> + Send + 'static,
        interrupted: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let (sender, blocks) = sync_channel(BLOCKS_MAX);
        threads::spawn("events", move || {
            let mut input = match open() {
                Ok(input) => input,
                Err(error) => {
                    // The run may have ended, so that nobody receives this.
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            loop {
                let mut block = vec![0; BLOCK_BYTES];
                let read = match input.read(&mut block) {
                    Ok(length) => {
                        block.truncate(length);
                        Ok(block)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let last = read.as_ref().map_or(true, Vec::is_empty);
                if sender.send(read).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(Self { blocks, block: Vec::new(), at: 0, interrupted })
    }
}

impl Read for InterruptibleReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            match self.blocks.recv_timeout(POLL) {
                Ok(block) => {
                    self.block = block?;
                    self.at = 0;
                    if self.block.is_empty() {
                        return Ok(0);
                    }
                }
                Err(RecvTimeoutError::Timeout) if self.interrupted.load(Ordering::Relaxed) => {
                    return Err(io::Error::other("the run was asked to end"));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let length = into.len().min(self.block.len() - self.at);
        into[..length].copy_from_slice(&self.block[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
