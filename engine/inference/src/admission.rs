//! The admission probe: it checks the form that a model's graph asks for. [`super::registry`] calls it when a model is
//! loaded, with the very form that will be used. If the form doesn't hold, the model falls to the next safer form.
//!
//! It compares bits: the result of each row alone with that of the same row in runs of every size, at other places and among
//! other neighbours. Rows are random, but the same in every run, so that the verdict is, too: numbers of many
//! magnitudes, small whole numbers, zeros, and, unless they might count a loop, NaN, infinities, huge and tiny numbers.

use wasm_engine_abi::philox4x32;

use super::binding::BoundModel;
use super::element::ElementType;
use super::layout::TensorPlan;
use super::limits::Deadline;
use super::watchdog::Halt;
use wasm_engine_components::BatchForm;

/// Version of the probe. A verdict of another version isn't used.
pub(crate) const PROBE_VERSION: u32 = 3;
/// Number of rows of each kind.
const PROBE_ROWS: usize = 16;
/// Largest run, in rows, in which all kinds of rows are probed. Larger ones are probed only with rows of many magnitudes.
const MIXED_SIZE_MAX: usize = 64;

/// Kind of values in the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    /// Floats from 2^-7 to 2^8, by row; integers from 0 to 15, so that a loop which they count ends soon.
    Magnitudes,
    /// Whole numbers from -8 to 7; integers of 0 and 1, for models that take them as indices.
    Whole,
    /// Every second row is zeros, and so are half of the elements of the others.
    Zeros,
    /// Every second row is of NaNs, infinities, huge and tiny numbers.
    Extremes,
}

impl Values {
    const ALL: [Self; 4] = [Self::Magnitudes, Self::Whole, Self::Zeros, Self::Extremes];
}

/// Result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// A row's result is the same among any rows with which the form allows it to share a run.
    Holds,
    /// It isn't, or that can't be found out, for this reason.
    Fails(String),
    /// There isn't enough memory for runs of the size with this index.
    TooLarge(usize),
    /// The same row, run twice, gives different results.
    Unrepeatable,
}

/// Probes a model in its form. `bounded` leaves extreme values out, because a float may become the number of rounds of a loop.
fn probe(model: &BoundModel, bounded: bool) -> Result<Verdict, Halt> {
    let (mut refused, mut lacked) = (None, None);
    let mut probed = false;
    for values in Values::ALL.into_iter().filter(|values| !bounded || *values != Values::Extremes) {
        let rows: Vec<Vec<u8>> = (0..PROBE_ROWS).map(|row| random_row(model.inputs(), row, values)).collect();
        // A row that the model refuses proves nothing.
        let mut good: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for row in &rows {
            match run_alone(model, row) {
                Ok(result) => good.push((row, result)),
                Err(halt) if halt.is_of_memory() => lacked = lacked.or(Some(halt)),
                Err(Halt::Failed(reason)) => refused = refused.or(Some(reason)),
                Err(halt) => return Err(halt),
            }
        }
        for (row, result) in &good {
            match run_alone(model, row) {
                Ok(again) if again == *result => {}
                Err(halt) if halt.is_of_memory() => return Err(halt),
                Ok(_) | Err(Halt::Failed(_)) => return Ok(Verdict::Unrepeatable),
                Err(halt) => return Err(halt),
            }
        }
        probed |= !good.is_empty();
        if model.form() != BatchForm::Alone
            && !good.is_empty()
            && let Some(verdict) = compare(model, &good, values)?
        {
            return Ok(verdict);
        }
    }
    if probed {
        return Ok(Verdict::Holds);
    }
    // The form must not depend on how much memory there is.
    if let Some(lacked) = lacked {
        return Err(lacked);
    }
    let reason = refused.unwrap_or_default();
    Ok(Verdict::Fails(format!("it fails on random inputs, so that it couldn't be probed: {reason}")))
}

/// Probes a model, and lets it fall to the next safer form as often as a form doesn't hold. Returns why it fell; `None` for a model that gives
/// different results for the same row.
pub(crate) fn settle(model: &mut BoundModel, bounded: bool) -> Result<Option<Vec<String>>, Halt> {
    let mut reasons = Vec::new();
    loop {
        match (probe(model, bounded)?, model.form().safer()) {
            (Verdict::Unrepeatable, _) => return Ok(None),
            // The sizes of runs change no result, so they may depend on the machine's memory. The form must not.
            (Verdict::TooLarge(size), _) => model.use_sizes(size),
            (Verdict::Fails(reason), Some(safer)) => {
                model.set_form(safer);
                reasons.push(reason);
            }
            // A run of one row has no other rows to depend on.
            (Verdict::Fails(_), None) | (Verdict::Holds, _) => return Ok(Some(reasons)),
        }
    }
}

/// Runs a row in its canonical form, as if there were no other row.
fn run_alone(model: &BoundModel, row: &[u8]) -> Result<Vec<u8>, Halt> {
    let mut out = Vec::new();
    model.run_alone(0, &[row], &mut out, deadline(model)).map(|()| out)
}

/// Returns the deadline of the next run of the probe.
fn deadline(model: &BoundModel) -> Deadline {
    model.time().load.within(model.time().run)
}

/// Compares rows in runs of every size with the rows alone. Returns the first difference.
fn compare(model: &BoundModel, rows: &[(&[u8], Vec<u8>)], values: Values) -> Result<Option<Verdict>, Halt> {
    let bytes = model.output_bytes();
    let sizes = model.sizes();
    let mut out = Vec::new();
    let is_probed = |size: usize| size > 1 && (size <= MIXED_SIZE_MAX || values == Values::Magnitudes);
    for (bucket, &size) in sizes.iter().enumerate().filter(|&(at, &size)| is_probed(size) || size > 1 && at == 0) {
        // Both orders for small runs; a large one holds each row at several places already.
        let strides: &[usize] = if size <= rows.len() { &[1, 5] } else { &[5] };
        for &stride in strides {
            // 5 is coprime with the number of rows, unless some were refused; a shift by the lap changes the neighbours.
            let order = (0..size.max(rows.len())).map(|at| (at * stride + 3 + at / rows.len()) % rows.len());
            let order: Vec<usize> = order.collect();
            for batch in order.chunks(size) {
                let batched: Vec<&[u8]> = batch.iter().map(|&row| rows[row].0).collect();
                out.clear();
                match model.run_alone(bucket, &batched, &mut out, deadline(model)) {
                    Ok(()) => {}
                    Err(halt) if halt.is_of_memory() && bucket > 0 => return Ok(Some(Verdict::TooLarge(bucket))),
                    Err(halt) if halt.is_of_memory() => return Err(halt),
                    Err(Halt::Failed(said)) => {
                        let reason = format!("it takes each row alone, but fails on a batch of {size}: {said}");
                        return Ok(Some(Verdict::Fails(reason)));
                    }
                    Err(halt) => return Err(halt),
                }
                let differs = |(at, &row): (usize, &usize)| out[at * bytes..][..bytes] != rows[row].1;
                if batch.iter().enumerate().any(differs) {
                    let reason = format!("a row's result in a batch of {size} isn't what it is alone");
                    return Ok(Some(Verdict::Fails(reason)));
                }
            }
        }
    }
    Ok(None)
}

/// Returns row number `row` of the probe.
fn random_row(inputs: &[TensorPlan], row: usize, values: Values) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut words = Words::new(row);
    for plan in inputs {
        let end = plan.part.end;
        // Inputs that all rows of a run share are the same in all of them.
        let row = if plan.axis.is_none() { 0 } else { row };
        let mut shared = Words::new(usize::MAX);
        let words = if plan.axis.is_none() { &mut shared } else { &mut words };
        while bytes.len() < end {
            push_element(&mut bytes, plan.info.dtype, words.next_word(), row, values);
        }
    }
    bytes
}

#[expect(clippy::cast_possible_truncation, reason = "any number of the range will do")]
fn push_element(bytes: &mut Vec<u8>, dtype: ElementType, word: u32, row: usize, values: Values) {
    let odd = row % 2 == 1;
    let is_zero = values == Values::Zeros && (!odd || word >> 31 == 1);
    // Rows have different magnitudes, so that a scale which a run shares is found.
    let plain = f64::from(word.cast_signed()) / f64::from(1_u32 << 31) * f64::from(1_u32 << (row % 16)) / 128.0;
    let float = match values {
        _ if is_zero => 0.0,
        Values::Whole => f64::from(word & 15) - 8.0,
        Values::Extremes if odd => {
            let (huge, tiny) = if dtype == ElementType::F64 { (1e308, 1e-310) } else { (1e38, 1e-40) };
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, huge, -huge, tiny, -0.0, 1e20][(word >> 29) as usize]
        }
        Values::Magnitudes | Values::Zeros | Values::Extremes => plain,
    };
    let small = match values {
        _ if is_zero => 0,
        Values::Whole | Values::Zeros => word & 1,
        Values::Magnitudes | Values::Extremes => word & 15,
    };
    let byte = match values {
        _ if is_zero => 0,
        Values::Whole => (word & 1) as u8,
        Values::Extremes if odd => [0, 0x7f, 0x80, 0xff][(word >> 30) as usize],
        Values::Magnitudes | Values::Zeros | Values::Extremes => word as u8,
    };
    match dtype {
        ElementType::F32 => bytes.extend((float as f32).to_le_bytes()),
        ElementType::F64 => bytes.extend(float.to_le_bytes()),
        ElementType::I64 => bytes.extend(u64::from(small).to_le_bytes()),
        ElementType::I32 => bytes.extend(small.to_le_bytes()),
        ElementType::U8 | ElementType::I8 => bytes.push(byte),
        ElementType::Bool => bytes.push(byte & 1),
    }
}

/// Returns random words, as a function of row and index.
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
        for values in Values::ALL {
            let rows: Vec<_> = (0..PROBE_ROWS).map(|row| random_row(&plans, row, values)).collect();
            for (number, row) in rows.iter().enumerate() {
                assert_eq!(row.len(), bytes as usize);
                assert_eq!(*row, random_row(&plans, number, values));
                let finite = plans.iter().all(|plan| plan.info.dtype.all_finite(&row[plan.part.clone()]));
                assert!(finite || values == Values::Extremes && number % 2 == 1, "{values:?} {number}");
                assert!(row[plans[1].part.clone()].iter().all(|&byte| byte < 2));
                let (integers, _) = row[plans[2].part.clone()].as_chunks::<8>();
                assert!(integers.iter().all(|&bytes| u64::from_le_bytes(bytes) < 16), "they may count a loop");
                let is_zero = values == Values::Zeros && number % 2 == 0;
                assert!(if is_zero { row.iter().all(|&byte| byte == 0) } else { !rows[..number].contains(row) });
            }
        }
    }
}
