//! Routes of one's own, as checked: paths that answer for a signature of a model in a layout of their own.
//!
//! Nothing here knows requests; how one finds its route is in `route::custom`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::custom::Mapping;
use crate::route::Target;

/// A path, and what is asked of which model there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomRoute {
    /// The path, to the letter.
    pub path: String,
    /// The model, and maybe one of its versions.
    pub target: Target,
    /// How bodies become inputs, and outputs replies.
    pub mapping: Mapping,
}

/// All routes of one's own. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct CustomRoutes {
    routes: Arc<[Arc<CustomRoute>]>,
    by_path: Arc<HashMap<String, Arc<CustomRoute>>>,
}

impl CustomRoutes {
    /// The route of a path, if there is one.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Arc<CustomRoute>> {
        // Most bridges have none, and do not hash every path for them.
        if self.by_path.is_empty() { None } else { self.by_path.get(path) }
    }

    /// All of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &CustomRoute> {
        self.routes.iter().map(Arc::as_ref)
    }
}

/// Of several routes with the same path the last one counts.
impl FromIterator<CustomRoute> for CustomRoutes {
    fn from_iter<I: IntoIterator<Item = CustomRoute>>(routes: I) -> Self {
        let routes: Arc<[_]> = routes.into_iter().map(Arc::new).collect();
        let by_path = routes.iter().map(|route| (route.path.clone(), Arc::clone(route))).collect();
        Self { routes, by_path: Arc::new(by_path) }
    }
}
