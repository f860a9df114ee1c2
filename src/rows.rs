//! Predictions for raw rows: what a network that carries its preparation can do.

use crate::data::{Field, Predictions, Preparation, Table};
use crate::error::{Error, Result};
use crate::metrics::{Evaluation, Metrics};
use crate::network::Network;

impl Network {
    /// Keeps the preparation of the data that this network is trained on, so that it can be asked about raw rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if the network has not the inputs and outputs that the preparation makes.
    pub fn set_preparation(&mut self, preparation: Preparation) -> Result<()> {
        for (what, want, got) in
            [("inputs", preparation.inputs(), self.inputs()), ("outputs", preparation.outputs(), self.outputs())]
        {
            if got != want {
                let call = format!("set_preparation: {what} of the network");
                return Err(Error::shape(call, format!("{want}, as the preparation makes"), got.to_string()));
            }
        }
        self.preparation = Some(preparation);
        Ok(())
    }

    /// The preparation that this network carries.
    #[must_use]
    pub const fn preparation(&self) -> Option<&Preparation> {
        self.preparation.as_ref()
    }

    fn prepared(&self) -> Result<&Preparation> {
        self.preparation().ok_or_else(|| Error::Architecture {
            problem: "it has no preparation for raw rows; give it one with set_preparation".to_owned(),
        })
    }

    /// The answers for raw rows, each with one field for each of [`Preparation::columns`]: the columns of the table without the
    /// target, as text or as numbers.
    ///
    /// ```
    /// use wgrad::data::{Field, Preparation, Table};
    /// use wgrad::{Activation, Device, Network, Sgd, Trainer};
    /// // Which of two kinds, by size and colour.
    /// let table = Table::new("fruit")
    ///     .with_numbers("size", [1.0, 1.2, 0.9, 8.0, 7.5, 9.0])?
    ///     .with_texts("colour", ["red", "red", "black", "red", "green", "green"])?
    ///     .with_texts("kind", ["cherry", "cherry", "cherry", "apple", "apple", "apple"])?;
    /// let preparation = Preparation::new("kind").fit(&table)?;
    /// let data = preparation.dataset(&table)?;
    /// let mut net = Network::new(preparation.inputs())
    ///     .dense(8, Activation::Tanh)
    ///     .dense(preparation.outputs(), preparation.output_activation())
    ///     .build(&Device::cpu())?;
    /// Trainer::new(preparation.cost(), Sgd::new(0.5)).epochs(50).fit(&mut net, &data, None)?;
    /// net.set_preparation(preparation)?;
    ///
    /// let answers = net.predict_rows(&[["8.2", "green"], ["1.1", "yellow"]])?;
    /// assert_eq!(answers.classes().collect::<Vec<_>>(), ["apple", "cherry"]);
    /// let answers = net.predict_rows(&[[Field::from(0.8), Field::Missing]])?;
    /// assert_eq!(answers.class(0), Some("cherry"));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Architecture`] if the network has no preparation; [`Error::Table`], with row and column, if a row has another
    /// number of fields, or a field cannot be read; [`Error::Empty`]; what the device reports.
    pub async fn predict_rows_async<'a, R, F>(&self, rows: &'a [R]) -> Result<Predictions>
    where
        R: AsRef<[F]>,
        F: 'a,
        &'a F: Into<Field<'a>>,
    {
        let preparation = self.prepared()?;
        let x = preparation.encode_rows(rows)?;
        preparation.answers(&self.predict_async(&x).await?)
    }

    /// The answers for the rows of a table. Columns are found by name; a target column may be there or not.
    ///
    /// # Errors
    /// As [`predict_rows_async`](Self::predict_rows_async), with line and column.
    pub async fn predict_table_async(&self, table: &Table) -> Result<Predictions> {
        let preparation = self.prepared()?;
        let x = preparation.encode_table(table)?;
        preparation.answers(&self.predict_async(&x).await?)
    }

    /// How well the network does on the rows of a table that has the target column: [`Metrics`] for the usual cost of the
    /// preparation. Errors of numbers are in the units of the target; the cost is that of the network.
    ///
    /// # Errors
    /// [`Error::Architecture`] if the network has no preparation; what [`Preparation::dataset`] and
    /// [`metrics_async`](Self::metrics_async) refuse.
    pub async fn table_metrics_async(&self, table: &Table) -> Result<Metrics> {
        let preparation = self.prepared()?;
        let data = preparation.dataset(table)?;
        Ok(self.metrics_async(&data, preparation.cost()).await?.in_units_of(preparation))
    }

    /// Blocking form of [`table_metrics_async`](Self::table_metrics_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn table_metrics(&self, table: &Table) -> Result<Metrics> {
        crate::blocking::block_on(self.table_metrics_async(table))
    }

    /// Blocking form of [`predict_rows_async`](Self::predict_rows_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn predict_rows<'a, R, F>(&self, rows: &'a [R]) -> Result<Predictions>
    where
        R: AsRef<[F]>,
        F: 'a,
        &'a F: Into<Field<'a>>,
    {
        crate::blocking::block_on(self.predict_rows_async(rows))
    }

    /// Blocking form of [`predict_table_async`](Self::predict_table_async).
    ///
    /// # Errors
    /// As there.
    #[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
    pub fn predict_table(&self, table: &Table) -> Result<Predictions> {
        crate::blocking::block_on(self.predict_table_async(table))
    }
}

impl Metrics {
    /// With errors in the units of the target that this preparation scaled; nothing else changes.
    #[must_use]
    pub fn in_units_of(mut self, preparation: &Preparation) -> Self {
        if let Some([_, scale]) = preparation.target_scale() {
            for errors in &mut self.errors {
                errors.mse *= scale * scale;
                errors.mae *= scale;
            }
        }
        self
    }
}

impl Evaluation {
    /// With errors in the units of the target that this preparation scaled; nothing else changes.
    #[must_use]
    pub fn in_units_of(mut self, preparation: &Preparation) -> Self {
        if let Some([_, scale]) = preparation.target_scale() {
            self.rmse = self.rmse.map(|rmse| rmse * scale);
            self.mae = self.mae.map(|mae| mae * scale);
        }
        self
    }
}
