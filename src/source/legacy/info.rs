//! Reads the protobuf bytes of an `Info` in place: texts are borrowed, nothing is copied and
//! nothing is allocated for an ordinary one. Pure.
//!
//! Invariant: prost, which reads the same messages into the types of [`crate::proto`], agrees for
//! all bytes: on whether they are an `Info`, and on what it says. Of a scalar field that comes
//! again the last one counts, a sub-message that comes again is merged into the first, repeated
//! ones are appended, unknown fields are skipped.
//!
//! Absent here: what the fields mean. They have the names and numbers of `proto/`.

use smallvec::SmallVec;

/// An `Info`; the enums as raw integers, unknown values among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info<'a> {
    /// `Info.Type`.
    pub r#type: i32,
    /// `Info.Event`.
    pub event: i32,
    /// The payload of a pod.
    pub pod_info: Option<PodInfo<'a>>,
    /// The payload of a ReplicaSet.
    pub rs_info: Option<OwnedInfo<'a>>,
    /// The payload of a Job.
    pub job_info: Option<OwnedInfo<'a>>,
}

/// A `PodInfo`, without the superseded `containers_ids`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "`proto/kubernetes_info.proto` says what they are"
)]
pub struct PodInfo<'a> {
    pub uid: &'a str,
    pub ip: &'a str,
    pub owner: Option<OwnerInfo<'a>>,
    pub ns: &'a str,
    pub is_host_network: bool,
    pub name: &'a str,
    pub version: &'a str,
    pub container_infos: SmallVec<[ContainerInfo<'a>; 4]>,
}

/// A `ReplicaSetInfo` or `JobInfo`: they have the same fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "`proto/kubernetes_info.proto` says what they are"
)]
pub struct OwnedInfo<'a> {
    pub uid: &'a str,
    pub owner: Option<OwnerInfo<'a>>,
}

/// An `OwnerInfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "`proto/kubernetes_info.proto` says what they are"
)]
pub struct OwnerInfo<'a> {
    pub uid: &'a str,
    pub name: &'a str,
    pub kind: &'a str,
}

/// A `ContainerInfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "`proto/kubernetes_info.proto` says what they are"
)]
pub struct ContainerInfo<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub image: &'a str,
}

/// Bytes that are no `Info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// They end inside of a field.
    #[error("the bytes end within a field")]
    Truncated,
    /// A number of more than 64 bits, or a key of more than 32.
    #[error("a number is too large")]
    Overflow,
    /// A field number 0, or an encoding that does not exist.
    #[error("{0:#x} is not the key of a field")]
    Key(u32),
    /// A known field is not encoded as its type is.
    #[error("field {0} has another type")]
    Type(u32),
    /// A text is not UTF-8.
    #[error("the text of field {0} is not UTF-8")]
    Text(u32),
    /// A group ends that was not begun.
    #[error("the group {0} ends without a beginning")]
    GroupEnd(u32),
    /// Groups within groups, too deep.
    #[error("groups are nested too deeply")]
    Depth,
}

impl<'a> Info<'a> {
    /// Reads the bytes of one message.
    ///
    /// # Errors
    /// They are no `Info`.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut info = Self::default();
        merge(&mut info, bytes, MAX_DEPTH)?;
        Ok(info)
    }
}

/// A message whose fields come one by one.
trait Message<'a> {
    fn take(&mut self, field: Field<'_, 'a>) -> Result<(), Malformed>;
}

impl<'a> Message<'a> for Info<'a> {
    fn take(&mut self, field: Field<'_, 'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.r#type = field.int32()?,
            2 => self.event = field.int32()?,
            3 => field.message(self.pod_info.get_or_insert_default())?,
            4 => field.message(self.rs_info.get_or_insert_default())?,
            5 => field.message(self.job_info.get_or_insert_default())?,
            _ => field.skip()?,
        }
        Ok(())
    }
}

impl<'a> Message<'a> for PodInfo<'a> {
    fn take(&mut self, field: Field<'_, 'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.uid = field.text()?,
            2 => self.ip = field.text()?,
            3 => field.message(self.owner.get_or_insert_default())?,
            4 => self.ns = field.text()?,
            5 => self.is_host_network = field.bool()?,
            6 => self.name = field.text()?,
            7 => drop(field.text()?), // superseded; it must be a text nevertheless
            8 => self.version = field.text()?,
            9 => {
                let mut container = ContainerInfo::default();
                field.message(&mut container)?;
                self.container_infos.push(container);
            }
            _ => field.skip()?,
        }
        Ok(())
    }
}

impl<'a> Message<'a> for OwnedInfo<'a> {
    fn take(&mut self, field: Field<'_, 'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.uid = field.text()?,
            2 => field.message(self.owner.get_or_insert_default())?,
            _ => field.skip()?,
        }
        Ok(())
    }
}

impl<'a> Message<'a> for OwnerInfo<'a> {
    fn take(&mut self, field: Field<'_, 'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.uid = field.text()?,
            2 => self.name = field.text()?,
            3 => self.kind = field.text()?,
            _ => field.skip()?,
        }
        Ok(())
    }
}

impl<'a> Message<'a> for ContainerInfo<'a> {
    fn take(&mut self, field: Field<'_, 'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.id = field.text()?,
            2 => self.name = field.text()?,
            3 => self.image = field.text()?,
            _ => field.skip()?,
        }
        Ok(())
    }
}

/// Merges the fields that `bytes` hold into `message`.
fn merge<'a>(message: &mut impl Message<'a>, bytes: &'a [u8], depth: u32) -> Result<(), Malformed> {
    let mut rest = Rest { bytes, depth };
    while !rest.bytes.is_empty() {
        message.take(rest.field()?)?;
    }
    Ok(())
}

/// What of a message is yet to be read.
struct Rest<'a> {
    bytes: &'a [u8],
    /// How many levels may still be nested in it.
    depth: u32,
}

/// A field whose key was read and whose value stands at the start of `rest`.
struct Field<'r, 'a> {
    number: u32,
    encoding: Encoding,
    rest: &'r mut Rest<'a>,
}

/// How a value is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Varint,
    Fixed64,
    /// A length, and as many bytes.
    Delimited,
    GroupStart,
    GroupEnd,
    Fixed32,
}

impl<'a> Field<'_, 'a> {
    #[inline]
    fn text(self) -> Result<&'a str, Malformed> {
        self.expect(Encoding::Delimited)?;
        str::from_utf8(self.rest.delimited()?).map_err(|_| Malformed::Text(self.number))
    }

    fn int32(self) -> Result<i32, Malformed> {
        self.expect(Encoding::Varint)?;
        // As protobuf has it: the low bits count.
        Ok(self.rest.varint()? as i32)
    }

    fn bool(self) -> Result<bool, Malformed> {
        self.expect(Encoding::Varint)?;
        Ok(self.rest.varint()? != 0)
    }

    fn message(self, into: &mut impl Message<'a>) -> Result<(), Malformed> {
        self.expect(Encoding::Delimited)?;
        merge(
            into,
            self.rest.delimited()?,
            self.rest.depth.saturating_sub(1),
        )
    }

    #[cold]
    fn skip(self) -> Result<(), Malformed> {
        self.rest.skip(self.number, self.encoding, self.rest.depth)
    }

    #[inline]
    fn expect(&self, encoding: Encoding) -> Result<(), Malformed> {
        if self.encoding == encoding {
            Ok(())
        } else {
            Err(Malformed::Type(self.number))
        }
    }
}

impl<'a> Rest<'a> {
    #[inline]
    fn field(&mut self) -> Result<Field<'_, 'a>, Malformed> {
        let (number, encoding) = self.key()?;
        Ok(Field {
            number,
            encoding,
            rest: self,
        })
    }

    #[inline]
    fn key(&mut self) -> Result<(u32, Encoding), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed::Overflow)?;
        let number = key >> 3;
        match Encoding::of_key(key) {
            Some(encoding) if number > 0 => Ok((number, encoding)),
            Some(_) | None => Err(Malformed::Key(key)),
        }
    }

    /// Nearly every number here is one byte.
    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.bytes = rest;
                Ok(byte.into())
            }
            Some(_) | None => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self.bytes.split_first().ok_or(Malformed::Truncated)?;
            self.bytes = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Malformed::Overflow);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Overflow)
    }

    #[inline]
    fn delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.varint()?;
        self.fixed(usize::try_from(len).unwrap_or(usize::MAX))
    }

    #[inline]
    fn fixed(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self
            .bytes
            .split_at_checked(len)
            .ok_or(Malformed::Truncated)?;
        self.bytes = rest;
        Ok(bytes)
    }

    fn skip(&mut self, number: u32, encoding: Encoding, depth: u32) -> Result<(), Malformed> {
        let inner = depth.checked_sub(1).ok_or(Malformed::Depth)?;
        match encoding {
            Encoding::Varint => self.varint().map(drop),
            Encoding::Fixed64 => self.fixed(8).map(drop),
            Encoding::Fixed32 => self.fixed(4).map(drop),
            Encoding::Delimited => self.delimited().map(drop),
            Encoding::GroupStart => loop {
                match self.key()? {
                    (end, Encoding::GroupEnd) if end == number => return Ok(()),
                    (field, encoding) => self.skip(field, encoding, inner)?,
                }
            },
            Encoding::GroupEnd => Err(Malformed::GroupEnd(number)),
        }
    }
}

impl Encoding {
    #[inline]
    fn of_key(key: u32) -> Option<Self> {
        Some(match key & 7 {
            0 => Self::Varint,
            1 => Self::Fixed64,
            2 => Self::Delimited,
            3 => Self::GroupStart,
            4 => Self::GroupEnd,
            5 => Self::Fixed32,
            _ => return None,
        })
    }
}

/// How deeply messages and groups may be nested: prost's limit.
const MAX_DEPTH: u32 = 100;

#[cfg(test)]
mod tests;
