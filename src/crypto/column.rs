//! Columns as they travel: n encodings or n tags, contiguous.

use std::fmt;

use arrow::array::{Array, FixedSizeBinaryArray};
use arrow::buffer::Buffer;
use thiserror::Error;

/// Bytes of an encoded ristretto255 element.
pub const ELEMENT_BYTES: usize = 32;

/// Most bytes of a tag: the whole encoding.
pub const TAG_BYTES_MAX: usize = ELEMENT_BYTES;

/// Bytes or an array that are no column. Where they came from the peer, it is the peer's fault: end the session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ColumnError {
    /// The array's values have another width.
    #[error("expected values of {expected} bytes, found FixedSizeBinary({found})")]
    Width {
        /// Bytes per value that the column has.
        expected: usize,
        /// Bytes per value that the array has.
        found: usize,
    },
    /// The array holds nulls; a null identifier is a random element, never a null value.
    #[error("expected a column without nulls, found {count}")]
    Nulls {
        /// Null values found.
        count: usize,
    },
    /// The bytes do not divide into values.
    #[error("{bytes} bytes do not divide into values of {width}")]
    Length {
        /// Bytes found.
        bytes: usize,
        /// Bytes per value.
        width: usize,
    },
}

/// n encoded elements in one buffer of n · 32 bytes, *unchecked*: whether a value is the canonical encoding of an
/// element is found where it is evaluated ([`evaluate`](super::evaluate)).
///
/// Clones and slices share the buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct ElementColumn {
    bytes: Buffer,
}

impl ElementColumn {
    /// A column of `bytes.len() / 32` elements, unchecked; no copy. [`ColumnError::Length`] if a part of an element
    /// is left over.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ColumnError> {
        Ok(Self { bytes: whole_values(Buffer::from_vec(bytes), ELEMENT_BYTES)? })
    }

    /// The column that an array of `FixedSizeBinary(32)` holds, unchecked; no copy, and the array's offset is
    /// respected. [`ColumnError::Width`] or [`ColumnError::Nulls`] otherwise.
    pub fn try_from_array(array: &FixedSizeBinaryArray) -> Result<Self, ColumnError> {
        Ok(Self { bytes: values(array, ELEMENT_BYTES)? })
    }

    /// The elements of all `parts`, one after another. Each part is freed as soon as it is copied.
    pub fn concat(parts: Vec<Self>) -> Self {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
        for part in parts {
            bytes.extend_from_slice(&part.bytes);
        }
        Self { bytes: Buffer::from_vec(bytes) }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / ELEMENT_BYTES
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All encodings, `len()` · 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encodings, one array each.
    pub fn elements(&self) -> &[[u8; ELEMENT_BYTES]] {
        self.bytes.as_chunks().0
    }

    /// The encoding of row `row`.
    ///
    /// # Panics
    /// Where `row` is not below `len()`.
    pub fn element(&self, row: usize) -> &[u8; ELEMENT_BYTES] {
        &self.elements()[row]
    }

    /// `len` elements from row `offset` on, in the same buffer.
    ///
    /// # Panics
    /// Where the rows are not all in the column.
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self { bytes: self.bytes.slice_with_length(offset * ELEMENT_BYTES, len * ELEMENT_BYTES) }
    }

    /// The column as an array of `FixedSizeBinary(32)`, without a copy.
    pub fn into_array(self) -> FixedSizeBinaryArray {
        into_array(self.bytes, ELEMENT_BYTES)
    }
}

impl From<Vec<[u8; ELEMENT_BYTES]>> for ElementColumn {
    fn from(elements: Vec<[u8; ELEMENT_BYTES]>) -> Self {
        Self { bytes: Buffer::from_vec(elements.into_flattened()) }
    }
}

impl fmt::Debug for ElementColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElementColumn").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// n tags of t bytes in one buffer of n · t bytes. A tag is the first t bytes of an element's encoding.
///
/// Clones and slices share the buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct TagColumn {
    bytes: Buffer,
    width: usize,
}

impl TagColumn {
    /// The tags that an array of `FixedSizeBinary(tag_bytes)` holds; no copy, and the array's offset is respected.
    /// Any bytes are a tag. [`ColumnError::Width`] or [`ColumnError::Nulls`] otherwise.
    ///
    /// # Panics
    /// Where `tag_bytes` is not 1 to 32.
    pub fn try_from_array(array: &FixedSizeBinaryArray, tag_bytes: usize) -> Result<Self, ColumnError> {
        check_tag_bytes(tag_bytes);
        Ok(Self { bytes: values(array, tag_bytes)?, width: tag_bytes })
    }

    /// A column of `bytes.len() / tag_bytes` tags; no copy. [`ColumnError::Length`] if a part of a tag is left over.
    ///
    /// # Panics
    /// Where `tag_bytes` is not 1 to 32.
    pub fn from_bytes(bytes: Vec<u8>, tag_bytes: usize) -> Result<Self, ColumnError> {
        check_tag_bytes(tag_bytes);
        Ok(Self { bytes: whole_values(Buffer::from_vec(bytes), tag_bytes)?, width: tag_bytes })
    }

    /// [`from_bytes`](Self::from_bytes) for bytes that were made tag by tag.
    pub(super) fn of_whole_tags(bytes: Vec<u8>, tag_bytes: usize) -> Self {
        debug_assert_eq!(bytes.len() % tag_bytes, 0);
        Self { bytes: Buffer::from_vec(bytes), width: tag_bytes }
    }

    /// The first `tag_bytes` bytes of each encoding.
    ///
    /// # Panics
    /// Where `tag_bytes` is not 1 to 32.
    pub fn from_elements(elements: &ElementColumn, tag_bytes: usize) -> Self {
        check_tag_bytes(tag_bytes);
        let mut bytes = Vec::with_capacity(elements.len() * tag_bytes);
        for element in elements.elements() {
            bytes.extend_from_slice(&element[..tag_bytes]);
        }
        Self::of_whole_tags(bytes, tag_bytes)
    }

    /// Number of tags.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    /// Whether there is no tag.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of one tag, t.
    pub fn tag_bytes(&self) -> usize {
        self.width
    }

    /// All tags, `len()` · t bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The tags, row by row.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.width)
    }

    /// `len` tags from row `offset` on, in the same buffer.
    ///
    /// # Panics
    /// Where the rows are not all in the column.
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self { bytes: self.bytes.slice_with_length(offset * self.width, len * self.width), width: self.width }
    }

    /// The column as an array of `FixedSizeBinary(t)`, without a copy.
    pub fn into_array(self) -> FixedSizeBinaryArray {
        into_array(self.bytes, self.width)
    }
}

impl fmt::Debug for TagColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TagColumn").field("len", &self.len()).field("tag_bytes", &self.width).finish_non_exhaustive()
    }
}

/// A tag's length follows from counts that both parties have agreed on and is at most 20; another is a bug here,
/// never the peer's doing.
pub(super) fn check_tag_bytes(tag_bytes: usize) {
    assert!((1..=TAG_BYTES_MAX).contains(&tag_bytes), "a tag has 1 to {TAG_BYTES_MAX} bytes, not {tag_bytes}");
}

fn whole_values(bytes: Buffer, width: usize) -> Result<Buffer, ColumnError> {
    match bytes.len() % width {
        0 => Ok(bytes),
        _ => Err(ColumnError::Length { bytes: bytes.len(), width }),
    }
}

fn values(array: &FixedSizeBinaryArray, width: usize) -> Result<Buffer, ColumnError> {
    if array.value_size() != width {
        return Err(ColumnError::Width { expected: width, found: array.value_size() });
    }
    match array.null_count() {
        // An array's buffer may be longer than its values; a slice's begins where the slice does.
        0 => Ok(array.values().slice_with_length(0, array.len() * width)),
        count => Err(ColumnError::Nulls { count }),
    }
}

fn into_array(bytes: Buffer, width: usize) -> FixedSizeBinaryArray {
    // Wider than 32 there is none, so the cast is exact and the array's only demands, a width that is not negative
    // and as many values as the buffer holds, are met.
    FixedSizeBinaryArray::new(width as i32, bytes, None)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;
    use proptest::prelude::*;

    use super::*;

    fn counting(rows: usize) -> ElementColumn {
        ElementColumn::from_bytes((0..rows * ELEMENT_BYTES).map(|i| (i / 7) as u8).collect()).unwrap()
    }

    #[test]
    fn an_array_and_back_copies_nothing() {
        let column = counting(5);
        let start = column.as_bytes().as_ptr();
        let array = column.clone().into_array();
        assert_eq!(array.data_type(), &DataType::FixedSizeBinary(32));
        assert_eq!(array.value_data().as_ptr(), start);
        let back = ElementColumn::try_from_array(&array).unwrap();
        assert_eq!(back, column);
        assert_eq!(back.as_bytes().as_ptr(), start);
    }

    #[test]
    fn a_slice_of_an_array_is_that_slice_of_the_column() {
        let column = counting(9);
        let array = column.clone().into_array().slice(2, 5);
        let slice = ElementColumn::try_from_array(&array).unwrap();
        assert_eq!(slice, column.slice(2, 5));
        assert_eq!(slice.len(), 5);
        assert_eq!(slice.element(0), column.element(2));
        let again = ElementColumn::try_from_array(&array.slice(1, 2)).unwrap();
        assert_eq!(again, column.slice(3, 2));
    }

    #[test]
    fn empty_columns_keep_their_width() {
        let array = ElementColumn::from_bytes(vec![]).unwrap().into_array();
        assert_eq!((array.len(), array.value_length()), (0, 32));
        assert!(ElementColumn::try_from_array(&array).unwrap().is_empty());
        let tags = TagColumn::from_bytes(vec![], 12).unwrap();
        assert_eq!((tags.len(), tags.clone().into_array().value_length()), (0, 12));
    }

    #[test]
    fn arrays_of_another_width_or_with_nulls_are_refused() {
        let narrow = TagColumn::from_bytes(vec![0; 31], 31).unwrap().into_array();
        assert_eq!(ElementColumn::try_from_array(&narrow), Err(ColumnError::Width { expected: 32, found: 31 }));
        assert_eq!(TagColumn::try_from_array(&narrow, 12), Err(ColumnError::Width { expected: 12, found: 31 }));
        let nulls = FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([1u8; 32]), None, None].into_iter(), 32)
            .unwrap();
        assert_eq!(ElementColumn::try_from_array(&nulls), Err(ColumnError::Nulls { count: 2 }));
        // A slice without them is welcome.
        assert_eq!(ElementColumn::try_from_array(&nulls.slice(0, 1)).unwrap().len(), 1);
    }

    #[test]
    fn bytes_that_do_not_divide_are_refused() {
        assert_eq!(ElementColumn::from_bytes(vec![0; 33]), Err(ColumnError::Length { bytes: 33, width: 32 }));
        assert_eq!(TagColumn::from_bytes(vec![0; 25], 12), Err(ColumnError::Length { bytes: 25, width: 12 }));
    }

    #[test]
    fn a_tag_is_the_front_of_its_element() {
        let column = counting(3);
        for width in [1, 12, 32] {
            let tags = TagColumn::from_elements(&column, width);
            assert_eq!((tags.len(), tags.tag_bytes()), (3, width));
            for (row, tag) in tags.tags().enumerate() {
                assert_eq!(tag, &column.element(row)[..width]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "a tag has 1 to 32 bytes, not 33")]
    fn a_tag_longer_than_an_encoding_is_a_bug() {
        TagColumn::from_elements(&counting(1), 33);
    }

    proptest! {
        #[test]
        fn concat_is_one_part_after_another(lengths in prop::collection::vec(0usize..12, 0..6)) {
            let parts: Vec<ElementColumn> = lengths.iter().map(|length| counting(20).slice(20 - length, *length)).collect();
            let bytes: Vec<&[u8]> = parts.iter().map(ElementColumn::as_bytes).collect();
            let expected = ElementColumn::from_bytes(bytes.concat()).unwrap();
            prop_assert_eq!(ElementColumn::concat(parts.clone()), expected);
        }
    }
}
