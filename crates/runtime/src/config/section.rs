//! How a section declares its keys: one table per section gives the struct, its defaults, the look-up by name and the
//! manual, so that none of them can drift from the others.

/// One key of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// With its section: `gateway.listen`.
    pub(super) path: &'static str,
    /// The meaning, as in the field's documentation.
    pub(super) meaning: &'static [&'static str],
    /// The default where it is not a fixed value.
    pub(super) default_note: Option<&'static str>,
    /// What a number may be, both ends included.
    pub(super) bounds: Option<(u64, u64)>,
}

impl Key {
    /// Without its section.
    pub(super) fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }
}

/// A section as a table of keys.
pub(super) trait Section {
    fn name(&self) -> &'static str;
    /// What the section is about.
    fn about(&self) -> &'static [&'static str];
    fn keys(&self) -> &'static [Key];
    /// Sets a key by name; none: there is no such key. The error says what was expected.
    fn set(&mut self, name: &str, value: &toml::Value) -> Option<(&'static str, Result<(), String>)>;
    /// The values in the order of the keys, secrets redacted.
    fn show(&self) -> Vec<toml::Value>;
}

/// Declares a section: `"key" => field: Type = default [, noted "text"] [, within bounds];`, with doc comments.
macro_rules! section {
    ($(#[doc = $about:literal])+ $section:literal => $name:ident {
        $(
            $(#[doc = $meaning:literal])+
            $key:literal => $field:ident: $type:ty = $default:expr $(, noted $note:literal)? $(, within $bounds:expr)?;
        )+
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $meaning])+ pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> $name {
                $name { $($field: $default,)+ }
            }
        }

        impl $crate::config::section::Section for $name {
            fn name(&self) -> &'static str {
                $section
            }

            fn about(&self) -> &'static [&'static str] {
                &[$($about),+]
            }

            fn keys(&self) -> &'static [$crate::config::section::Key] {
                const KEYS: &[$crate::config::section::Key] = &[$($crate::config::section::Key {
                    path: concat!($section, ".", $key),
                    meaning: &[$($meaning),+],
                    default_note: section!(@first $($note)?),
                    bounds: section!(@bounds $($bounds)?),
                }),+];
                KEYS
            }

            fn set(&mut self, name: &str, value: &toml::Value) -> Option<(&'static str, Result<(), String>)> {
                match name {
                    $($key => Some((
                        concat!($section, ".", $key),
                        $crate::config::value::read::<$type>(value, section!(@bounds $($bounds)?))
                            .map(|value| self.$field = value),
                    )),)+
                    _ => None,
                }
            }

            fn show(&self) -> Vec<toml::Value> {
                vec![$($crate::config::value::Setting::show(&self.$field)),+]
            }
        }
    };
    (@first) => { None };
    (@first $note:literal) => { Some($note) };
    (@bounds) => { None };
    (@bounds $bounds:expr) => { Some((*$bounds.start(), *$bounds.end())) };
}

pub(super) use section;
