//! Settings as they are written, before anybody knows what they mean.

/// A value of a settings file, whichever format it was written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Nothing.
    Null,
    /// A text, a number or a boolean, as it was written.
    Text(String),
    /// Its items in order.
    List(Vec<Setting>),
    /// Its members in order. A key may have dots: `a.b: 1` is `a: {b: 1}`.
    Map(Vec<(String, Setting)>),
}

/// Finds the value of an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Setting {
    /// The values below a map, each with the path to it. What is in a list stays there, and an
    /// empty map says nothing.
    pub(super) fn leaves(&self) -> Vec<(String, &Self)> {
        let mut leaves = Vec::new();
        // With the members that are left of each map that has been entered.
        let mut open = vec![(String::new(), self.members().iter())];
        while let Some((prefix, members)) = open.last_mut() {
            let Some((key, value)) = members.next() else {
                open.pop();
                continue;
            };
            let path = match prefix.as_str() {
                "" => key.clone(),
                prefix => format!("{prefix}.{key}"),
            };
            match value {
                Self::Map(members) => open.push((path, members.iter())),
                Self::Null | Self::Text(_) | Self::List(_) => leaves.push((path, value)),
            }
        }
        leaves
    }

    fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Map(members) => members,
            Self::Null | Self::Text(_) | Self::List(_) => &[],
        }
    }
}

/// Replaces `${NAME}` and `${NAME:default}` by what the environment says.
///
/// # Errors
/// Says which variable is not set, or that a brace is not closed.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, from)) = rest.split_once("${") {
        expanded.push_str(plain);
        let Some((inner, behind)) = from.split_once('}') else {
            return Err(format!("`{text}` has a `${{` without its `}}`"));
        };
        let (name, default) = match inner.split_once(':') {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        match (environment(name), default) {
            (Some(value), _) => expanded.push_str(&value),
            (None, Some(default)) => expanded.push_str(default),
            (None, None) => return Err(format!("the variable `{name}` is not set")),
        }
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
