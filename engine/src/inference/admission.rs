//! The admission probe: does a row's result depend on who shares its batch? Called by [`super::registry`] once for each
//! model that is loaded. What it admits is batched freely; anything else is run a row at a time, and what can't be repeated is
//! refused.
//!
//! It compares bits: each row alone against the same row in batches of every size that will be used, at other places and
//! among other neighbours. Its rows are random, but always the same ones, so that a model is judged alike in every run.

use wasm_engine_abi::philox4x32;

use super::binding::BoundModel;
use super::layout::TensorPlan;
use super::tensor::ElementType;
use super::watchdog::{Deadline, Halt};

/// Rows that are probed.
const PROBE_ROWS: usize = 16;

/// What the random inputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inputs {
    /// Integers of 0 to 15, which end a loop soon that they count; floats of -1 to 1.
    Small,
    /// Integers of 0 and 1, floats of -1 to 1: for models that take their integers as indices.
    Bits,
}

/// What the probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A row's result is the same in any company.
    Invariant,
    /// It isn't, or nobody knows: rows must be run alone, for this reason.
    Alone(String),
    /// Not even the same row gives the same result twice.
    Unrepeatable,
}

/// Probes a model.
pub(crate) fn probe(model: &mut BoundModel) -> Result<Verdict, Halt> {
    let mut reason = String::new();
    for inputs in [Inputs::Small, Inputs::Bits] {
        let rows: Vec<Vec<u8>> = (0..PROBE_ROWS).map(|row| random_row(model.inputs(), row, inputs)).collect();
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let mut run_alone = || {
            let mut out = Vec::new();
            rows.iter().try_for_each(|row| model.run(0, &[row], &mut out, deadline(model))).map(|()| out)
        };
        match run_alone() {
            Ok(alone) => match run_alone() {
                Ok(again) if again == alone => return compare(model, &rows, &alone),
                Ok(_) | Err(Halt::Failed(_)) => return Ok(Verdict::Unrepeatable),
                Err(halt) => return Err(halt),
            },
            Err(Halt::Failed(said)) => reason = said,
            Err(halt) => return Err(halt),
        }
    }
    Ok(Verdict::Alone(format!("it fails on random inputs, so that it couldn't be probed: {reason}")))
}

/// When the next run of the probe must be done.
fn deadline(model: &BoundModel) -> Deadline {
    model.time().load.within(model.time().run)
}

/// Compares the rows in batches of every size with the rows alone.
fn compare(model: &mut BoundModel, rows: &[&[u8]], alone: &[u8]) -> Result<Verdict, Halt> {
    let bytes = model.output_bytes();
    let sizes = model.sizes();
    let mut out = Vec::new();
    for (bucket, &size) in sizes.iter().enumerate().filter(|&(_, &size)| size > 1) {
        // Both orders for small batches; a large one holds each row at several places already.
        let strides: &[usize] = if size <= rows.len() { &[1, 5] } else { &[5] };
        for &stride in strides {
            // 5 is coprime with the number of rows, and a shift by the lap changes the neighbours.
            let order = (0..size.max(rows.len())).map(|at| (at * stride + 3 + at / rows.len()) % rows.len());
            let order: Vec<usize> = order.collect();
            for batch in order.chunks(size) {
                let batched: Vec<&[u8]> = batch.iter().map(|&row| rows[row]).collect();
                out.clear();
                match model.run(bucket, &batched, &mut out, deadline(model)) {
                    Ok(()) => {}
                    Err(Halt::Failed(said)) => {
                        let reason = format!("it takes each row alone, but fails on a batch of {size}: {said}");
                        return Ok(Verdict::Alone(reason));
                    }
                    Err(halt) => return Err(halt),
                }
                let differs = |(at, &row): (usize, &usize)| out[at * bytes..][..bytes] != alone[row * bytes..][..bytes];
                if batch.iter().enumerate().any(differs) {
                    let reason = format!("a row's result in a batch of {size} isn't what it is alone");
                    return Ok(Verdict::Alone(reason));
                }
            }
        }
    }
    Ok(Verdict::Invariant)
}

/// Row number `row` of the probe.
fn random_row(inputs: &[TensorPlan], row: usize, kind: Inputs) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut words = Words::new(row);
    for plan in inputs {
        let end = plan.part.end;
        while bytes.len() < end {
            push_element(&mut bytes, plan.info.dtype, words.next_word(), row, kind);
        }
    }
    bytes
}

fn push_element(bytes: &mut Vec<u8>, dtype: ElementType, low: u32, row: usize, kind: Inputs) {
    // Rows of other magnitudes, so that a scale that is shared by a batch shows.
    let magnitude = 1.0 / f64::from(1_u32 << (row % 8));
    let float = (f64::from(low.cast_signed()) / f64::from(1_u32 << 31)) * magnitude;
    let integer = match kind {
        Inputs::Small if matches!(dtype, ElementType::I64 | ElementType::I32) => u64::from(low & 15),
        Inputs::Small => u64::from(low),
        Inputs::Bits => u64::from(low & 1),
    };
    let integer = integer.to_le_bytes();
    match dtype {
        #[expect(clippy::cast_possible_truncation, reason = "any number of the range will do")]
        ElementType::F32 => bytes.extend((float as f32).to_le_bytes()),
        ElementType::F64 => bytes.extend(float.to_le_bytes()),
        ElementType::I64 => bytes.extend(integer),
        ElementType::I32 => bytes.extend(&integer[..4]),
        ElementType::U8 | ElementType::I8 => bytes.push(integer[0]),
        ElementType::Bool => bytes.push(integer[0] & 1),
    }
}

/// Random words, numbered by row and position.
struct Words {
    counter: [u32; 4],
    words: [u32; 4],
    left: usize,
}

impl Words {
    const KEY: [u32; 2] = [0x7072_6f62, 0x6520_726f];

    fn new(row: usize) -> Self {
        let row = u32::try_from(row).unwrap_or(u32::MAX);
        Self { counter: [0, 0, row, 0], words: [0; 4], left: 0 }
    }

    fn next_word(&mut self) -> u32 {
        if self.left == 0 {
            self.words = philox4x32(self.counter, Self::KEY);
            self.counter[0] += 1;
            self.left = self.words.len();
        }
        self.left -= 1;
        self.words[self.left]
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Slots, TensorInfo, lay_out};
    use super::*;

    #[test]
    fn rows_are_whole_and_the_same_every_time() {
        let tensor = |dtype| TensorInfo { name: "t".into(), dtype, shape: vec![None, Some(3)] };
        let types = [ElementType::F32, ElementType::Bool, ElementType::I64, ElementType::I8, ElementType::F64];
        let (plans, bytes) = lay_out("input", types.map(tensor).into(), Slots::Any).unwrap();
        for kind in [Inputs::Small, Inputs::Bits] {
            let rows: Vec<_> = (0..PROBE_ROWS).map(|row| random_row(&plans, row, kind)).collect();
            for (number, row) in rows.iter().enumerate() {
                assert_eq!(row.len(), bytes as usize);
                assert_eq!(*row, random_row(&plans, number, kind));
                assert!(plans.iter().all(|plan| plan.info.dtype.all_finite(&row[plan.part.clone()])));
                assert!(row[plans[1].part.clone()].iter().all(|&byte| byte < 2));
                assert!(!rows[..number].contains(row));
            }
        }
    }
}
