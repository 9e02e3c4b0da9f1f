//! What enrichment keeps of an object, and the pairs that are read because of it.

use std::{borrow::Cow, sync::Arc};

use serde::de::MapAccess;

use super::value::{Fields, Object, Value, skip};
use crate::{
    enrich::{
        object::{PairLimits, Pairs},
        plan::Needs,
        resource::Resource,
    },
    model::Interner,
};

/// What enrichment keeps of the objects of a kind.
#[derive(Clone, Debug)]
pub struct Keep {
    /// The kind.
    pub resource: Resource,
    /// What is kept besides identity and controllers.
    pub needs: Needs,
    /// Counts the changes of what is kept: a higher one keeps no less.
    pub number: u64,
}

impl PartialEq for Keep {
    fn eq(&self, other: &Self) -> bool {
        (self.resource, self.number) == (other.resource, other.number)
    }
}

impl Eq for Keep {}

/// Labels, annotations or a selector, as far as they are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptPairs<'de> {
    which: Which,
    pairs: Vec<(Cow<'de, str>, Cow<'de, str>)>,
}

#[derive(Clone, Debug, Default)]
enum Which {
    #[default]
    Nothing,
    All,
    /// The annotations that it needs.
    Annotations(Arc<Keep>),
}

impl<'de> KeptPairs<'de> {
    /// All labels, or none.
    pub(super) fn labels(keep: Option<&Keep>) -> Self {
        Self::of(match keep {
            Some(keep) if keep.needs.labels => Which::All,
            Some(_) | None => Which::Nothing,
        })
    }

    /// Those annotations that are needed.
    pub(super) fn annotations(keep: Option<&Arc<Keep>>) -> Self {
        Self::of(match keep {
            Some(keep) if !keep.needs.annotations.is_empty() => {
                Which::Annotations(Arc::clone(keep))
            }
            Some(_) | None => Which::Nothing,
        })
    }

    /// Every pair.
    pub(super) fn all() -> Self {
        Self::of(Which::All)
    }

    fn of(which: Which) -> Self {
        let pairs = Vec::new();
        Self { which, pairs }
    }

    /// Reads the value of their key. A wrong type is as good as none: nothing depends on them
    /// but documents.
    pub(super) fn read<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        self.pairs.clear();
        match self.which {
            Which::Nothing => skip(map),
            Which::All | Which::Annotations(_) => map.next_value_seed(Object(self)).map(drop),
        }
    }

    /// The pairs, their texts shared.
    pub(super) fn pairs(&self, limits: PairLimits, texts: &mut Interner) -> Pairs {
        if self.pairs.is_empty() {
            return Pairs::default();
        }
        let mut share = |text: &Cow<'de, str>| texts.text(text);
        let pairs = self.pairs.iter();
        Pairs::new(pairs.map(|(key, value)| (share(key), share(value))), limits)
    }
}

impl<'de> Fields<'de> for KeptPairs<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        self.entry(Cow::Owned(key.to_owned()), map)
    }

    fn entry<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let is_kept = match &self.which {
            Which::Nothing => false,
            Which::All => true,
            Which::Annotations(keep) => keep.needs.keeps_annotation(&key),
        };
        if !is_kept {
            return skip(map);
        }
        if let Value::Text(value) = map.next_value()? {
            self.pairs.push((key, value));
        }
        Ok(())
    }
}
