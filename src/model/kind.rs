//! What is watched: THE table of kinds, and the part of the cluster that one list covers.
//!
//! Everything that differs between kinds and is data stands in a [`KindRow`]: paths, `Accept`, what
//! a role must allow, labels of metrics, the simulated cluster. A watched kind more is one row; one
//! that is not metadata only is a [`Form`] and its decoder.
//!
//! Invariants: a table is made once, at the start, and never changes. It begins with the
//! [fixed rows](KindTable::FIXED), so the constants of [`Kind`] are true of every table. No two
//! rows are of one resource, or share a label.

use std::{borrow::Cow, collections::BTreeSet, fmt, ops, sync::Arc};

/// A kind that is watched: its place in the [`KindTable`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(u8);

/// What one watch of a kind covers: every namespace, or one of those that `--namespace`
/// names. Numbered from 0; a list of one scope says nothing about the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub u16);

/// All that is to be said of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindRow {
    /// The API group; empty for the core.
    pub group: Cow<'static, str>,
    /// The version within the group, such as `v1`.
    pub version: Cow<'static, str>,
    /// The plural name, as in paths and roles, such as `replicasets`.
    pub resource: Cow<'static, str>,
    /// The kind text, such as `ReplicaSet`.
    pub kind: Cow<'static, str>,
    /// Its objects are in namespaces.
    pub namespaced: bool,
    /// What is asked for of its objects, and kept.
    pub form: Form,
    /// The matcher uses it: what its watches see goes through the loop, and a source is synced
    /// only with it. What the watches of any other kind see, they write into its store.
    pub matched: bool,
}

/// What is asked for of the objects of a kind, and kept. Each has a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The whole object, as a pod.
    Pod,
    /// The whole object, of which the matcher knows nothing.
    Full,
    /// `PartialObjectMetadata`: nothing but the metadata.
    Metadata,
}

/// The kinds of this process. A cheap handle.
#[derive(Clone, PartialEq, Eq)]
pub struct KindTable(Arc<[KindRow]>);

/// Why there can be no such table of kinds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KindError {
    /// A resource has a row already, perhaps in another version of its group.
    #[error("`{resource}` of the API group `{group}` is watched already")]
    Twice {
        /// The plural name.
        resource: String,
        /// Its group; empty for the core.
        group: String,
    },
    /// Two resources would be one in metrics.
    #[error("metrics cannot distinguish two kinds called `{0}`")]
    SameLabel(String),
    /// There are more rows than can be numbered.
    #[error("the settings name more than {} kinds", KindTable::MOST)]
    TooMany,
}

/// A value for each of some kinds of a [`KindTable`], in the order of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerKind<T>(Box<[Option<T>]>);

impl Kind {
    /// Pods.
    pub const POD: Self = Self(0);
    /// ReplicaSets of the group `apps`.
    pub const REPLICA_SET: Self = Self(1);
    /// Jobs of the group `batch`.
    pub const JOB: Self = Self(2);

    /// The kinds that the matcher uses; no later row is one of them.
    pub const MATCHED: [Self; 3] = [Self::POD, Self::REPLICA_SET, Self::JOB];

    /// Of these, the kinds of owners.
    pub const OWNERS: [Self; 2] = [Self::REPLICA_SET, Self::JOB];

    fn at(self) -> usize {
        usize::from(self.0)
    }
}

impl KindRow {
    /// A row of which only the metadata is kept, and of which the matcher knows nothing.
    /// `api_version` is `v1` or `GROUP/VERSION`.
    pub fn metadata_only(api_version: &str, kind: &str, resource: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            resource: resource.to_owned().into(),
            kind: kind.to_owned().into(),
            namespaced: true,
            form: Form::Metadata,
            matched: false,
        }
    }

    /// A row of which whole objects are asked for, and of which the matcher knows nothing.
    pub fn full(api_version: &str, kind: &str, resource: &str) -> Self {
        Self {
            form: Form::Full,
            ..Self::metadata_only(api_version, kind, resource)
        }
    }

    /// Group and version, such as `v1` or `apps/v1`.
    pub fn api_version(&self) -> Cow<'_, str> {
        match &*self.group {
            "" => Cow::Borrowed(&self.version),
            group => Cow::Owned(format!("{group}/{}", self.version)),
        }
    }

    /// Where the paths of its group and version begin, such as `/api/v1` or `/apis/apps/v1`.
    pub fn root(&self) -> String {
        let root = if self.group.is_empty() { "api" } else { "apis" };
        format!("/{root}/{}", self.api_version())
    }

    /// What a role must allow: `list and watch on jobs in API group "batch"`.
    pub fn grant(&self) -> String {
        format!(
            "list and watch on {} in API group \"{}\"",
            self.resource, self.group
        )
    }

    /// Its name in labels of metrics, such as `replica_set`.
    pub fn label(&self) -> String {
        self.snake(&self.kind.to_lowercase())
    }

    /// The name of all its objects in `/statusz`, such as `replica_sets`.
    pub fn key(&self) -> String {
        self.snake(&self.resource)
    }

    /// This text with an underscore wherever the kind text begins a new word.
    fn snake(&self, lower: &str) -> String {
        let humps: BTreeSet<usize> = self
            .kind
            .char_indices()
            .filter_map(|(at, letter)| (at > 0 && letter.is_uppercase()).then_some(at))
            .collect();
        let mut text = String::with_capacity(lower.len() + humps.len());
        for (at, letter) in lower.char_indices() {
            if humps.contains(&at) {
                text.push('_');
            }
            text.push(letter);
        }
        text
    }
}

impl KindTable {
    /// The rows that every table begins with.
    pub const FIXED: [KindRow; 3] = [
        KindRow {
            group: Cow::Borrowed(""),
            version: Cow::Borrowed("v1"),
            resource: Cow::Borrowed("pods"),
            kind: Cow::Borrowed("Pod"),
            namespaced: true,
            form: Form::Pod,
            matched: true,
        },
        KindRow {
            group: Cow::Borrowed("apps"),
            version: Cow::Borrowed("v1"),
            resource: Cow::Borrowed("replicasets"),
            kind: Cow::Borrowed("ReplicaSet"),
            namespaced: true,
            form: Form::Metadata,
            matched: true,
        },
        KindRow {
            group: Cow::Borrowed("batch"),
            version: Cow::Borrowed("v1"),
            resource: Cow::Borrowed("jobs"),
            kind: Cow::Borrowed("Job"),
            namespaced: true,
            form: Form::Metadata,
            matched: true,
        },
    ];

    /// Rows of a table, at most.
    pub const MOST: usize = 64;

    /// The fixed rows, and these behind them. The matcher uses none of these, whatever they say.
    ///
    /// # Errors
    /// Two rows are of one resource or share a label, or there are more than [`Self::MOST`].
    pub fn with(later: impl IntoIterator<Item = KindRow>) -> Result<Self, KindError> {
        let later = later.into_iter().map(|row| KindRow {
            matched: false,
            ..row
        });
        let rows: Vec<_> = Self::FIXED.into_iter().chain(later).collect();
        if rows.len() > Self::MOST {
            return Err(KindError::TooMany);
        }
        let (mut resources, mut labels) = (BTreeSet::new(), BTreeSet::new());
        for row in &rows {
            if !resources.insert((&row.group, &row.resource)) {
                return Err(KindError::Twice {
                    resource: row.resource.to_string(),
                    group: row.group.to_string(),
                });
            }
            let label = row.label();
            if !labels.insert(label.clone()) {
                return Err(KindError::SameLabel(label));
            }
        }
        Ok(Self(rows.into()))
    }

    /// The row of a kind.
    ///
    /// # Panics
    /// The kind is from another, longer table.
    pub fn row(&self, kind: Kind) -> &KindRow {
        #[expect(clippy::indexing_slicing, reason = "a kind is a place in its table")]
        &self.0[kind.at()]
    }

    /// All kinds with their rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &KindRow)> {
        (0..=u8::MAX).map(Kind).zip(self.0.iter())
    }

    /// The kind of a resource, as paths and roles name it.
    pub fn find(&self, group: &str, resource: &str) -> Option<Kind> {
        let mut all = self.iter();
        let (kind, _) = all.find(|(_, row)| row.group == group && row.resource == resource)?;
        Some(kind)
    }
}

impl<T> PerKind<T> {
    /// What `make` gives for each kind of a table; a kind for which it gives `None` has none.
    pub fn of(kinds: &KindTable, mut make: impl FnMut(Kind, &KindRow) -> Option<T>) -> Self {
        Self(kinds.iter().map(|(kind, row)| make(kind, row)).collect())
    }

    /// What `make` gives for each kind of a table.
    pub fn all(kinds: &KindTable, mut make: impl FnMut(Kind, &KindRow) -> T) -> Self {
        Self::of(kinds, |kind, row| Some(make(kind, row)))
    }

    /// What `make` gives for each of these kinds; no other has a value.
    pub fn only(kinds: &[Kind], mut make: impl FnMut(Kind) -> T) -> Self {
        let end = kinds.iter().map(|kind| kind.0 + 1).max().unwrap_or(0);
        let all = (0..end).map(Kind);
        Self(
            all.map(|kind| kinds.contains(&kind).then(|| make(kind)))
                .collect(),
        )
    }

    /// The value of a kind, if it has one.
    pub fn get(&self, kind: Kind) -> Option<&T> {
        self.0.get(kind.at())?.as_ref()
    }

    /// The value of a kind, to change it, if it has one.
    pub fn get_mut(&mut self, kind: Kind) -> Option<&mut T> {
        self.0.get_mut(kind.at())?.as_mut()
    }

    /// The kinds that have a value, with it.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &T)> {
        let numbered = (0..=u8::MAX).map(Kind).zip(self.0.iter());
        numbered.filter_map(|(kind, value)| Some((kind, value.as_ref()?)))
    }

    /// What `make` gives for each value.
    pub fn map<U>(&self, mut make: impl FnMut(&T) -> U) -> PerKind<U> {
        PerKind(
            self.0
                .iter()
                .map(|one| one.as_ref().map(&mut make))
                .collect(),
        )
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    /// All values, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }
}

impl<T> ops::Index<Kind> for PerKind<T> {
    type Output = T;

    /// # Panics
    /// The kind has no value.
    #[expect(clippy::expect_used, reason = "as of every index")]
    fn index(&self, kind: Kind) -> &T {
        self.get(kind).expect("the kind has a value")
    }
}

impl<T> ops::IndexMut<Kind> for PerKind<T> {
    #[expect(clippy::expect_used, reason = "as of every index")]
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        self.get_mut(kind).expect("the kind has a value")
    }
}

impl Default for KindTable {
    /// The fixed rows alone.
    fn default() -> Self {
        Self(Self::FIXED.into())
    }
}

impl<T: Default> Default for PerKind<T> {
    /// A value for each of the fixed rows.
    fn default() -> Self {
        Self::all(&KindTable::default(), |_, _| T::default())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KindTable::FIXED.get(self.at()) {
            Some(row) => f.write_str(&row.kind),
            None => write!(f, "Kind({})", self.0),
        }
    }
}

impl fmt::Debug for KindTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resources = self.0.iter().map(|row| &row.resource);
        f.debug_list().entries(resources).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollouts() -> KindRow {
        KindRow::metadata_only("argoproj.io/v1alpha1", "Rollout", "rollouts")
    }

    #[test]
    fn the_constants_name_the_fixed_rows_of_every_table() {
        for table in [
            KindTable::default(),
            KindTable::with([rollouts()]).expect("a table"),
        ] {
            for (kind, text) in [
                (Kind::POD, "Pod"),
                (Kind::REPLICA_SET, "ReplicaSet"),
                (Kind::JOB, "Job"),
            ] {
                let row = table.row(kind);
                assert_eq!((&*row.kind, format!("{kind:?}").as_str()), (text, text));
                assert_eq!(table.find(&row.group, &row.resource), Some(kind));
            }
            let matched: Vec<_> = table
                .iter()
                .filter_map(|(kind, row)| row.matched.then_some(kind))
                .collect();
            assert_eq!(matched, Kind::MATCHED);
        }
    }

    #[test]
    fn what_is_said_of_a_kind_follows_from_its_row() {
        let table = KindTable::with([
            rollouts(),
            KindRow::metadata_only("storage.k8s.io/v1", "StorageClass", "storageclasses"),
            KindRow::metadata_only("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        ])
        .expect("a table");
        let said: Vec<String> = table
            .iter()
            .map(|(_, row)| {
                let grant = row.grant().replace("list and watch on ", "");
                format!("{} {} {} {grant}", row.root(), row.label(), row.key())
            })
            .collect();
        assert_eq!(
            said,
            [
                r#"/api/v1 pod pods pods in API group """#,
                r#"/apis/apps/v1 replica_set replica_sets replicasets in API group "apps""#,
                r#"/apis/batch/v1 job jobs jobs in API group "batch""#,
                r#"/apis/argoproj.io/v1alpha1 rollout rollouts rollouts in API group "argoproj.io""#,
                r#"/apis/storage.k8s.io/v1 storage_class storage_classes storageclasses in API group "storage.k8s.io""#,
                r#"/api/v1 persistent_volume_claim persistent_volume_claims persistentvolumeclaims in API group """#,
            ]
        );
    }

    #[test]
    fn rows_that_cannot_be_distinguished_make_no_table() {
        let with = |rows: Vec<KindRow>| KindTable::with(rows).expect_err("no table").to_string();
        let many = (0..KindTable::MOST)
            .map(|n| KindRow::metadata_only("x.io/v1", &format!("K{n}"), &format!("k{n}")));
        for (rows, why) in [
            (
                vec![KindRow::metadata_only(
                    "apps/v2",
                    "ReplicaSets",
                    "replicasets",
                )],
                "`replicasets` of the API group `apps` is watched already",
            ),
            (
                vec![KindRow::metadata_only("batch.volcano.sh/v1", "Job", "jobs")],
                "metrics cannot distinguish two kinds called `job`",
            ),
            (many.collect(), "the settings name more than 64 kinds"),
        ] {
            assert_eq!(with(rows), why);
        }
    }

    #[test]
    fn a_kind_may_have_no_value_and_one_of_a_longer_table_has_none() {
        let long = KindTable::with([rollouts()]).expect("a table");
        let rollout = long.find("argoproj.io", "rollouts").expect("a row");
        let mut some = PerKind::of(&KindTable::default(), |kind, row| {
            (kind != Kind::POD).then(|| row.label())
        });
        assert_eq!(some.get(Kind::POD), None);
        assert_eq!(some.get(rollout), None);
        some[Kind::JOB].push('!');
        assert_eq!(some.values().collect::<Vec<_>>(), ["replica_set", "job!"]);
        let owners = PerKind::only(&Kind::OWNERS, |kind| kind);
        assert_eq!(owners.values().copied().collect::<Vec<_>>(), Kind::OWNERS);
        let all = PerKind::all(&long, |kind, _| kind);
        assert_eq!(all.get(rollout), Some(&rollout));
    }
}
