//! Element types of tensors, as agents see them. Called by [`super::layout`] and [`super::tensor`].

use std::fmt;

use ort::value::TensorElementType;

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
    /// One byte: 0 is false, and any other byte is true.
    Bool,
}

impl ElementType {
    /// Returns the size of an element in bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::U8 | Self::I8 | Self::Bool => 1,
        }
    }

    /// Returns the name: `f32`, `bool` and so on.
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

    /// Returns ONNX's number of the type.
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

    /// Appends an element. Types without negative numbers get 1 for -1.
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

    /// Gives all NaNs the same bits. Which of two NaNs a sum takes its bits from depends on the loop that computes it, and so on the other rows
    /// of the run.
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

    /// Returns whether each element of `bytes` is a finite number, as all integers are.
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
