//! The macro that declares the variants of an enum together with their numbers and names, so that none of the three can be forgotten or disagree.

/// Declares an enum without fields whose variants have a number and a name, each written once.
///
/// The enum gets
/// - `COUNT`, the number of variants, and `ALL`, every variant in the order of the declaration;
/// - `name`, the name used in reports and files, which is also its `Display`;
/// - `from_number` and `from_name`, which find the variant of a number or of a name.
///
/// The numbers must ascend, which is checked at compile time.
///
/// ```
/// wasm_engine_abi::numbered_enum! {
///     /// A compass point.
///     #[derive(Clone, Copy, Debug, PartialEq)]
///     pub enum Point: u8 {
///         /// Up on a map.
///         North = 1, "north";
///         /// Down on a map.
///         South = 2, "south";
///     }
/// }
///
/// assert_eq!(Point::ALL.map(Point::name), ["north", "south"]);
/// assert_eq!((Point::from_number(2), Point::from_number(0)), (Some(Point::South), None));
/// assert_eq!(Point::from_name("north"), Some(Point::North));
/// assert_eq!(Point::South.to_string(), "south");
/// ```
#[macro_export]
macro_rules! numbered_enum {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $enum:ident: $number:ident {
            $($(#[$variant_attribute:meta])* $variant:ident = $value:literal, $name:literal;)+
        }
    ) => {
        $(#[$attribute])*
        #[repr($number)]
        $visibility enum $enum {
            $($(#[$variant_attribute])* $variant = $value,)+
        }

        impl $enum {
            /// Number of variants.
            pub const COUNT: usize = [$($name),+].len();

            /// Every variant, in the order of the numbers.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];

            /// Returns the name that reports and files use.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Returns the variant of a number; `None` if no variant has it.
            #[inline]
            pub const fn from_number(number: $number) -> Option<Self> {
                match number {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Returns the variant of a name; `None` if no variant has it.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|variant| variant.name() == name)
            }
        }

        const _: () = {
            let mut at = 1;
            while at < $enum::COUNT {
                assert!(($enum::ALL[at - 1] as $number) < ($enum::ALL[at] as $number), "the numbers ascend");
                at += 1;
            }
        };

        impl ::core::fmt::Display for $enum {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}
