//! Tensors as agents see them: element types, and the bytes of one row. Called by [`super::layout`] and [`super::binding`].
//!
//! Elements are little-endian and lie side by side, as they do in memory here. Nothing is converted, but for `bool`.

use std::fmt;

use ort::value::{DynTensor, TensorElementType};

use super::layout::TensorPlan;

const _: () = assert!(cfg!(target_endian = "little"), "rows are exchanged in the machine's own byte order");

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 8-bit unsigned integer.
    U8,
    /// 8-bit signed integer.
    I8,
    /// One byte: 0 is false, and any other byte is taken for true.
    Bool,
}

impl ElementType {
    /// Size of an element in bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::U8 | Self::I8 | Self::Bool => 1,
        }
    }

    /// Its name: `f32`, `bool` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::Bool => "bool",
        }
    }

    /// ONNX's number of the type.
    pub(crate) const fn onnx(self) -> i64 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F64 => 11,
        }
    }

    pub(crate) const fn from_ort(element: TensorElementType) -> Option<Self> {
        Some(match element {
            TensorElementType::Float32 => Self::F32,
            TensorElementType::Float64 => Self::F64,
            TensorElementType::Int64 => Self::I64,
            TensorElementType::Int32 => Self::I32,
            TensorElementType::Uint8 => Self::U8,
            TensorElementType::Int8 => Self::I8,
            TensorElementType::Bool => Self::Bool,
            _ => return None,
        })
    }

    pub(crate) const fn to_ort(self) -> TensorElementType {
        match self {
            Self::F32 => TensorElementType::Float32,
            Self::F64 => TensorElementType::Float64,
            Self::I64 => TensorElementType::Int64,
            Self::I32 => TensorElementType::Int32,
            Self::U8 => TensorElementType::Uint8,
            Self::I8 => TensorElementType::Int8,
            Self::Bool => TensorElementType::Bool,
        }
    }

    /// Appends an element. Types without negative numbers take 1 for -1.
    pub(crate) fn push(self, number: i8, bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(f32::from(number).to_le_bytes()),
            Self::F64 => bytes.extend(f64::from(number).to_le_bytes()),
            Self::I64 => bytes.extend(i64::from(number).to_le_bytes()),
            Self::I32 => bytes.extend(i32::from(number).to_le_bytes()),
            Self::I8 => bytes.extend(number.to_le_bytes()),
            Self::U8 | Self::Bool => bytes.push(number.unsigned_abs()),
        }
    }

    /// Gives all NaNs the same bits. Which of two NaNs a sum takes its bits from depends on the loop that computes it, and so on who
    /// shares the run.
    pub(crate) fn make_nans_canonical(self, bytes: &mut [u8]) {
        match self {
            Self::F32 => {
                let nans = bytes.as_chunks_mut().0.iter_mut().filter(|bytes| f32::from_le_bytes(**bytes).is_nan());
                nans.for_each(|bytes| *bytes = 0x7fc0_0000_u32.to_le_bytes());
            }
            Self::F64 => {
                let nans = bytes.as_chunks_mut().0.iter_mut().filter(|bytes| f64::from_le_bytes(**bytes).is_nan());
                nans.for_each(|bytes| *bytes = 0x7ff8_0000_0000_0000_u64.to_le_bytes());
            }
            _ => {}
        }
    }

    /// Whether each element of `bytes` is a finite number. Integers are.
    pub(crate) fn all_finite(self, bytes: &[u8]) -> bool {
        // An infinity or a NaN has all bits of its exponent set.
        const F32_EXPONENT: u32 = 0x7f80_0000;
        const F64_EXPONENT: u64 = 0x7ff0_0000_0000_0000;
        match self {
            Self::F32 => bytes.as_chunks().0.iter().all(|&b| u32::from_le_bytes(b) & F32_EXPONENT != F32_EXPONENT),
            Self::F64 => bytes.as_chunks().0.iter().all(|&b| u64::from_le_bytes(b) & F64_EXPONENT != F64_EXPONENT),
            _ => true,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Fills a tensor with its part of each of `rows`. The last row fills what slots are left.
pub(crate) fn fill(tensor: &mut DynTensor, plan: &TensorPlan, rows: &[&[u8]], slots: usize) -> ort::Result<()> {
    match plan.info.dtype {
        ElementType::F32 => copy_rows(tensor.try_extract_tensor_mut::<f32>()?.1, plan, rows, slots),
        ElementType::F64 => copy_rows(tensor.try_extract_tensor_mut::<f64>()?.1, plan, rows, slots),
        ElementType::I64 => copy_rows(tensor.try_extract_tensor_mut::<i64>()?.1, plan, rows, slots),
        ElementType::I32 => copy_rows(tensor.try_extract_tensor_mut::<i32>()?.1, plan, rows, slots),
        ElementType::U8 => copy_rows(tensor.try_extract_tensor_mut::<u8>()?.1, plan, rows, slots),
        ElementType::I8 => copy_rows(tensor.try_extract_tensor_mut::<i8>()?.1, plan, rows, slots),
        ElementType::Bool => {
            // A guest may send any byte, but a `bool` holds 0 or 1.
            let elements = tensor.try_extract_tensor_mut::<bool>()?.1;
            for (slot, inside, of_row) in plan.places(slots) {
                let row = &rows[slot.min(rows.len() - 1)][of_row];
                elements[inside].iter_mut().zip(row).for_each(|(element, &byte)| *element = byte != 0);
            }
        }
    }
    Ok(())
}

fn copy_rows<T: bytemuck::Pod>(elements: &mut [T], plan: &TensorPlan, rows: &[&[u8]], slots: usize) {
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(elements);
    for (slot, inside, of_row) in plan.places(slots) {
        bytes[inside].copy_from_slice(&rows[slot.min(rows.len() - 1)][of_row]);
    }
}

/// A tensor's elements as bytes.
pub(crate) fn read(tensor: &DynTensor, of: ElementType) -> ort::Result<&[u8]> {
    Ok(match of {
        ElementType::F32 => bytemuck::cast_slice(tensor.try_extract_tensor::<f32>()?.1),
        ElementType::F64 => bytemuck::cast_slice(tensor.try_extract_tensor::<f64>()?.1),
        ElementType::I64 => bytemuck::cast_slice(tensor.try_extract_tensor::<i64>()?.1),
        ElementType::I32 => bytemuck::cast_slice(tensor.try_extract_tensor::<i32>()?.1),
        ElementType::U8 => tensor.try_extract_tensor::<u8>()?.1,
        ElementType::I8 => bytemuck::cast_slice(tensor.try_extract_tensor::<i8>()?.1),
        ElementType::Bool => bytemuck::cast_slice(tensor.try_extract_tensor::<bool>()?.1),
    })
}

/// Bytes of which the place of each buffer is a multiple.
pub(crate) const BUFFER_ALIGNMENT: usize = 64;

/// Fails if a tensor's memory isn't aligned: some operators give other results where it begins 4 or 8 bytes later.
pub(crate) fn check_alignment(tensor: &DynTensor, of: ElementType) -> ort::Result<()> {
    let bytes = read(tensor, of)?;
    if bytes.is_empty() || bytes.as_ptr().addr().is_multiple_of(BUFFER_ALIGNMENT) {
        return Ok(());
    }
    Err(ort::Error::new(format!("a buffer of the model isn't aligned to {BUFFER_ALIGNMENT} bytes")))
}

#[cfg(test)]
mod tests {
    use ort::value::TensorRef;

    use super::super::runtime;
    use super::*;

    /// A tensor that begins 4, 8, 16 or 32 bytes after such a place is refused, and one that begins there isn't.
    #[test]
    fn a_buffer_that_is_not_aligned_is_refused() {
        runtime::start(&mut |line| eprintln!("{line}")).unwrap();
        let floats = [1.0_f32; 64];
        let to_place = (BUFFER_ALIGNMENT - floats.as_ptr().addr() % BUFFER_ALIGNMENT) % BUFFER_ALIGNMENT / 4;
        for (after, is_right) in [(0, true), (1, false), (2, false), (4, false), (8, false), (16, true)] {
            let view = TensorRef::from_array_view(([4_usize], &floats[to_place + after..][..4])).unwrap();
            let checked = check_alignment(&view.upcast_ref(), ElementType::F32);
            assert_eq!(checked.is_ok(), is_right, "{} bytes after: {checked:?}", after * 4);
        }
    }

    #[test]
    fn nans_have_one_form() {
        let floats = [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), f32::INFINITY, -0.0];
        let mut bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
        ElementType::F32.make_nans_canonical(&mut bytes);
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        assert_eq!(words, [0x7fc0_0000, 0x7fc0_0000, 0x7fc0_0000, 0x7f80_0000, 0x8000_0000]);
        let mut bytes = (-f64::NAN).to_le_bytes();
        ElementType::F64.make_nans_canonical(&mut bytes);
        assert_eq!(u64::from_le_bytes(bytes), 0x7ff8_0000_0000_0000);
        let mut bytes = [0xff; 4];
        ElementType::I32.make_nans_canonical(&mut bytes);
        assert_eq!(bytes, [0xff; 4]);
    }

    #[test]
    fn only_floats_can_be_infinite() {
        let with = |value: f32| [0.0_f32, value, 1.0].map(f32::to_le_bytes).concat();
        for (value, finite) in
            [(1.0, true), (-0.0, true), (f32::MAX, true), (f32::MIN_POSITIVE / 2.0, true), (f32::NAN, false)]
        {
            assert_eq!(ElementType::F32.all_finite(&with(value)), finite, "{value}");
        }
        assert!(!ElementType::F32.all_finite(&with(f32::NEG_INFINITY)));
        for (value, finite) in [(1.0, true), (f64::MAX, true), (f64::NAN, false), (f64::INFINITY, false)] {
            assert_eq!(ElementType::F64.all_finite(&f64::to_le_bytes(value)), finite, "{value}");
        }
        for integers in [ElementType::I64, ElementType::I32, ElementType::U8, ElementType::I8, ElementType::Bool] {
            assert!(integers.all_finite(&[0xff; 8]), "{integers}");
        }
    }
}
