//! `plan`.

use clap::Args;

use super::args::InputArgs;
use super::preseed_args::PreSeedArgs;
use crate::compose::Composition;
use crate::error::Result;
use crate::report::Report;
use crate::value::ByteSize;

#[derive(Debug, Args)]
pub struct PlanVerb {
    #[command(flatten)]
    inputs: InputArgs,

    #[command(flatten)]
    first_boot: PreSeedArgs,

    /// Size of the disk; without it the least that holds everything.
    #[arg(long, value_name = "SIZE")]
    size: Option<ByteSize>,
}

impl PlanVerb {
    pub fn run(self, report: &Report) -> Result<()> {
        let inputs = self.inputs.load(&self.first_boot, report)?;
        let staged = inputs.stage()?;
        let containers = staged.containers.all();
        let warnings = staged.warnings.iter().chain(&staged.left_out).chain(&containers);
        warnings.for_each(|warning| report.warn(warning));
        let composition = Composition::new(&inputs, staged, self.size.map(|size| size.0))?;
        composition.warnings().iter().for_each(|warning| report.warn(warning));
        report.document(composition.plan(), composition.plan());
        Ok(())
    }
}
