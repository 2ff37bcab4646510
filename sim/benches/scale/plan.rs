//! Which deployments are measured.

use windlass_sim::scale::Size;

use crate::point::Point;

/// What every deployment has where it is not the one thing that grows.
const BASE: Size = Size {
    waiting: 10_000,
    workers: 100,
    queues: 10,
    schedulers: 1,
    dedicated: false,
};

/// Deployments that differ in one thing.
#[derive(Debug)]
pub(crate) struct Series {
    /// How it is asked for.
    pub(crate) name: &'static str,
    /// What grows.
    pub(crate) title: &'static str,
    /// Whether each deployment is ten times the one before, in one thing only.
    pub(crate) is_ladder: bool,
    sizes: Vec<Size>,
    pub(crate) points: Vec<Point>,
}

impl Series {
    fn new(name: &'static str, title: &'static str, sizes: Vec<Size>) -> Self {
        Self {
            name,
            title,
            is_ladder: true,
            sizes,
            points: Vec::new(),
        }
    }

    /// Measures every deployment.
    pub(crate) fn measure(&mut self) {
        self.points = self.sizes.iter().copied().map(Point::best).collect();
    }

    /// How large a deployment is in what grows.
    pub(crate) fn step(&self, size: &Size) -> u64 {
        match self.name {
            "waiting" => size.waiting,
            "workers" => size.workers,
            "schedulers" => size.schedulers,
            _ => size.queues,
        }
    }
}

/// All series.
pub(crate) fn all(quick: bool) -> Vec<Series> {
    let up_to = |max: u64, from: u64| {
        let sizes = (0..4).map(move |power| from * 10_u64.pow(power));
        sizes.filter(move |size| *size <= max)
    };
    let waiting = up_to(if quick { 100_000 } else { 1_000_000 }, 1_000);
    let workers = up_to(if quick { 1_000 } else { 10_000 }, 10);
    let schedulers = up_to(if quick { 10 } else { 100 }, 1);
    let mut all = vec![
        Series::new(
            "waiting",
            "Waiting tasks",
            waiting.map(|waiting| Size { waiting, ..BASE }).collect(),
        ),
        Series::new(
            "workers",
            "Workers",
            workers.map(|workers| Size { workers, ..BASE }).collect(),
        ),
        Series::new(
            "queues",
            "Queues",
            up_to(1_000, 1)
                .map(|queues| Size { queues, ..BASE })
                .collect(),
        ),
        Series::new(
            "own",
            "Queues, each with own workers",
            up_to(1_000, 1).map(own).collect(),
        ),
        Series::new(
            "schedulers",
            "Schedulers",
            schedulers
                .map(|schedulers| Size { schedulers, ..BASE })
                .collect(),
        ),
    ];
    if !quick {
        let mut together = Series::new("together", "All at once", together());
        together.is_ladder = false;
        all.push(together);
    }
    all
}

fn own(queues: u64) -> Size {
    Size {
        queues,
        workers: 1_000,
        dedicated: true,
        ..BASE
    }
}

/// Much of everything. Each scheduler has the whole view and does the same again, so that more of them have less of it.
fn together() -> Vec<Size> {
    let largest = Size {
        waiting: 1_000_000,
        workers: 10_000,
        queues: 1_000,
        ..BASE
    };
    let with = |schedulers, waiting| Size {
        schedulers,
        waiting,
        ..largest
    };
    vec![with(1, 1_000_000), with(8, 100_000)]
}
