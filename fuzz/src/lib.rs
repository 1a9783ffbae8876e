//! Fuzz targets of chinwag. [`model`] is what the membership rules say, written a second time.

pub mod model;
