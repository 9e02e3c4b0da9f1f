//! Visitors that take whatever comes and say what it was: a wrong type is for their caller
//! to judge, and the document goes on.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A value, as far as any field needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value<'de> {
    /// `null`, or the field is not there.
    #[default]
    Null,
    Bool(bool),
    /// A whole number that is not negative.
    Number(u64),
    Text(Cow<'de, str>),
    /// Anything else; it was skipped.
    Other,
}

/// What stood where an object or array was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Fits,
    Null,
    Wrong,
}

/// Takes the entries of an object one by one.
pub trait Fields<'de> {
    /// Takes the value from `map`, in any case.
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;

    /// The same for whoever keeps the key.
    fn entry<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        self.field(&key, map)
    }
}

/// Takes the objects of an array one by one.
pub(super) trait Objects<'de> {
    type Object: Fields<'de> + Default;

    /// Takes one; of another shape than [`Shape::Fits`] it is empty.
    fn add(&mut self, object: Self::Object, shape: Shape);
}

/// Reads an object into its [`Fields`].
pub(super) struct Object<'f, F>(pub(super) &'f mut F);

/// Reads an array into its [`Objects`].
pub(super) struct Array<'o, O>(pub(super) &'o mut O);

impl Shape {
    /// Whether there is something of a wrong type.
    pub(super) fn is_wrong(self) -> bool {
        self == Self::Wrong
    }
}

/// Passes by a value.
pub(super) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

impl<'de> Value<'de> {
    /// The text; empty if the field is not there, none if it is of another type.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Null => Some(""),
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Number(_) | Self::Other => None,
        }
    }

    /// The same for a switch, which is off if the field is not there.
    pub(super) fn switch(&self) -> Option<bool> {
        match self {
            Self::Null => Some(false),
            Self::Bool(on) => Some(*on),
            Self::Number(_) | Self::Text(_) | Self::Other => None,
        }
    }

    /// The text, or nothing if it is of another type: for what is judged by nobody.
    pub(super) fn any_text(&self) -> &str {
        self.text().unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any(Scalar))
    }
}

impl<'de, F: Fields<'de>> DeserializeSeed<'de> for Object<'_, F> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(Any(self))
    }
}

impl<'de, O: Objects<'de>> DeserializeSeed<'de> for Array<'_, O> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(Any(self))
    }
}

/// What becomes of each sort of value.
trait Sorts<'de>: Sized {
    type Value: From<Value<'de>>;

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other.into())
    }

    fn seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other.into())
    }
}

struct Scalar;

impl<'de> Sorts<'de> for Scalar {
    type Value = Value<'de>;
}

impl<'de, F: Fields<'de>> Sorts<'de> for Object<'_, F> {
    type Value = Shape;

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        while let Some(key) = map.next_key_seed(Key(PhantomData))? {
            self.0.entry(key, &mut map)?;
        }
        Ok(Shape::Fits)
    }
}

impl<'de, O: Objects<'de>> Sorts<'de> for Array<'_, O> {
    type Value = Shape;

    fn seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        loop {
            let mut object = O::Object::default();
            let Some(shape) = seq.next_element_seed(Object(&mut object))? else {
                return Ok(Shape::Fits);
            };
            self.0.add(object, shape);
        }
    }
}

impl From<Value<'_>> for Shape {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Other => Self::Wrong,
        }
    }
}

/// The visitor that never complains.
struct Any<S>(S);

impl<'de, S: Sorts<'de>> Visitor<'de> for Any<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<S::Value, E> {
        Ok(Value::Bool(on).into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<S::Value, E> {
        Ok(Value::Number(number).into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<S::Value, E> {
        Ok(u64::try_from(number)
            .map_or(Value::Other, Value::Number)
            .into())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<S::Value, E> {
        Ok(Value::Other.into())
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<S::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)).into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<S::Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<S::Value, E> {
        Ok(Value::Text(Cow::Owned(text)).into())
    }

    fn visit_unit<E: de::Error>(self) -> Result<S::Value, E> {
        Ok(Value::Null.into())
    }

    fn visit_none<E: de::Error>(self) -> Result<S::Value, E> {
        Ok(Value::Null.into())
    }

    fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<S::Value, D::Error> {
        some.deserialize_any(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S::Value, A::Error> {
        self.0.map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<S::Value, A::Error> {
        self.0.seq(seq)
    }
}

/// A key, borrowed if it can be.
struct Key<'de>(PhantomData<&'de str>);

impl<'de> DeserializeSeed<'de> for Key<'de> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'de> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
