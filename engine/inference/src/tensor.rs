//! Tensors as the bytes of rows that agents see, for [`super::layout`] and [`super::binding`].
//!
//! Elements are little-endian and adjacent, as they are in memory. Nothing is converted, except `bool`.

use ort::value::DynTensor;

use super::element::ElementType;
use super::layout::TensorPlan;

const _: () = assert!(cfg!(target_endian = "little"), "rows are exchanged in the machine's own byte order");

/// Fills a tensor with its part of each of `rows`. The last row fills the remaining places.
pub(crate) fn fill(tensor: &mut DynTensor, plan: &TensorPlan, rows: &[&[u8]], slots: usize) -> ort::Result<()> {
    match plan.info.dtype {
        ElementType::F32 => copy_rows(tensor.try_extract_tensor_mut::<f32>()?.1, plan, rows, slots),
        ElementType::F64 => copy_rows(tensor.try_extract_tensor_mut::<f64>()?.1, plan, rows, slots),
        ElementType::I64 => copy_rows(tensor.try_extract_tensor_mut::<i64>()?.1, plan, rows, slots),
        ElementType::I32 => copy_rows(tensor.try_extract_tensor_mut::<i32>()?.1, plan, rows, slots),
        ElementType::U8 => copy_rows(tensor.try_extract_tensor_mut::<u8>()?.1, plan, rows, slots),
        ElementType::I8 => copy_rows(tensor.try_extract_tensor_mut::<i8>()?.1, plan, rows, slots),
        ElementType::Bool => {
            // A guest may send any byte, but a `bool` must hold 0 or 1.
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

/// Returns a tensor's elements as bytes.
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

/// Alignment of each buffer in bytes.
pub(crate) const BUFFER_ALIGNMENT: usize = 64;

/// Checks that a tensor's memory is aligned: some operators give other results if it begins 4 or 8 bytes later.
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
        runtime::start().unwrap();
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
