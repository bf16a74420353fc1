//! Places in the tables of a world. Each is a number with a type of its own, so that one can't be taken for another, and costs what the
//! number costs.

macro_rules! place {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// Returns the place of an index. Tables are bounded far below 2^32 entries.
            #[inline]
            pub const fn of(index: usize) -> Self {
                Self(index as u32)
            }

            /// Returns the index in a table that has an entry for each.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

place! {
    /// Index of a group in the order of ids, among the groups that take part.
    GroupIndex
}

place! {
    /// Index of a topic in the order of ids.
    TopicIndex
}
