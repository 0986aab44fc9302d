#![forbid(unsafe_code)]
//! The native engine: the raw records of a batch to the CSV text of their days, without the interpreter's lock.
//!
//! It knows what ordinary records need and leaves the others, one by one, to the exact engine in `consumer/shape/exact`,
//! whose bytes and counts it must meet. Where a rule stands:
//!
//! | file | rule |
//! |---|---|
//! | `avro`, `json` | a value's bytes to slots, one for each column |
//! | `values` | what a column takes |
//! | `json_text` | lists and objects of Avro as JSON; the text of bytes, times, UUIDs |
//! | `row_day` | which day a row belongs to, or why to none |
//! | `filters` | which rows are dropped, and why |
//! | `cells`, `timestamps` | a slot to the text of a cell |
//! | `privacy` | what becomes of cells about persons |
//! | `csv_text` | quoting |
//! | `rows` | all of it, row by row |
//! | `differences` | what differs between two texts of rows |
//! | `engine` | what Python calls |

pub mod avro;
pub mod cells;
pub mod csv_text;
pub mod differences;
pub mod engine;
pub mod filters;
pub mod json;
pub mod json_text;
pub mod privacy;
pub mod row_day;
pub mod rows;
pub mod timestamps;
pub mod values;

#[pyo3::pymodule]
mod adapty_sink_native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::engine::{Batch, Engine, comings_and_goings, other_cells, real_text, single_text};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("INTERFACE", super::engine::INTERFACE)?;
        module.add(
            "PanicException",
            module.py().get_type::<pyo3::panic::PanicException>(),
        )
    }
}
