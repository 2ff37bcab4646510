//! A request's query, taken apart like a body: each parameter once, by its name.

use axum::http::Uri;

use super::problem::{Fault, Problem};

/// The parameters of a query.
#[derive(Debug)]
pub(super) struct Query {
    given: Vec<(String, String)>,
    faults: Vec<Fault>,
}

/// The most parameters of one query.
const PARAMETERS_MAX: usize = 32;

impl Query {
    /// The query of `uri`.
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let axum::extract::Query(given) =
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
                .map_err(|error| Problem::bad_field("query", error.body_text()))?;
        if given.len() > PARAMETERS_MAX {
            return Err(Problem::bad_field(
                "query",
                format!("has more than {PARAMETERS_MAX} parameters"),
            ));
        }
        Ok(Self {
            given,
            faults: Vec::new(),
        })
    }

    /// The parameter `name`, if it is given and as `parse` wants it. What `parse` says is wrong is noted.
    pub(super) fn take<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let index = self.given.iter().position(|(given, _)| given == name)?;
        let (_, text) = self.given.remove(index);
        if self.given.iter().any(|(given, _)| given == name) {
            self.given.retain(|(given, _)| given != name);
            self.faults.push(Fault::new(name, "is given twice"));
            return None;
        }
        match parse(&text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.faults.push(Fault::new(name, reason));
                None
            }
        }
    }

    /// Refuses the request if anything was wrong, parameters that nobody took included.
    pub(super) fn close(mut self) -> Result<(), Problem> {
        for (name, _) in self.given {
            let name: String = name.chars().take(128).collect();
            self.faults
                .push(Fault::new(name, "is not a parameter that is known here"));
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(Problem::bad(self.faults))
        }
    }
}
