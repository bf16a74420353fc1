//! The orders in which the dimensions of a tensor may lie in memory. ONNX Runtime moves transpositions past the nodes after them, which then
//! work along other dimensions than the graph says. Each [`super::value::Value`] has its orders, and [`super::rules`] use them.

/// Most orders that are followed for one tensor.
const ORDERS_MAX: usize = 6;

/// The orders that a tensor may have besides its own.
///
/// An order gives the place of each dimension in memory: `[0, 2, 1]` is that of a tensor whose last two dimensions are exchanged
/// there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Orders(Option<Vec<Vec<usize>>>);

impl Orders {
    /// Returns no other order than the tensor's own.
    pub(super) const OWN: Self = Self(Some(Vec::new()));
    /// Returns all orders.
    pub(super) const UNKNOWN: Self = Self(None);

    /// Returns the number of orders, the tensor's own included.
    pub(super) fn count(&self) -> usize {
        1 + self.0.as_ref().map_or(0, Vec::len)
    }

    pub(super) fn is_own(&self) -> bool {
        *self == Self::OWN
    }

    /// Returns each order that a tensor of `rank` dimensions may have, its own first; `None` if they aren't known.
    pub(super) fn all(&self, rank: usize) -> Option<Vec<Vec<usize>>> {
        let others = self.0.as_ref()?;
        if others.iter().any(|order| order.len() != rank) {
            return None;
        }
        Some(std::iter::once((0..rank).collect()).chain(others.iter().cloned()).collect())
    }

    /// Returns the orders after a transposition, whose dimension `n` was `from[n]` before. It may be carried out there, or later.
    pub(super) fn transposed(&self, from: &[usize]) -> Self {
        self.changed(from.len(), |order| from.iter().map(|&at| order[at]).collect())
    }

    /// Returns the orders of `rank` dimensions without those in `gone`.
    pub(super) fn without(&self, gone: &[usize], rank: usize) -> Self {
        self.changed(rank, |order| {
            let kept: Vec<usize> = (0..rank).filter(|at| !gone.contains(at)).map(|at| order[at]).collect();
            kept.iter().map(|place| kept.iter().filter(|other| *other < place).count()).collect()
        })
    }

    /// Returns the orders with dimensions of one element added as the dimensions `added` of a result of `rank` dimensions. Their place in memory
    /// makes no difference, so each is put behind the dimension before it.
    pub(super) fn with(&self, added: &[usize], rank: usize) -> Self {
        let own: Vec<usize> = (0..rank).filter(|at| !added.contains(at)).collect();
        self.changed(own.len(), |order| {
            let mut lying = own.clone();
            let place = |at: &usize| own.iter().position(|other| other == at).map(|n| order[n]);
            lying.sort_by_key(place);
            for at in (0..rank).filter(|at| added.contains(at)) {
                let before = at.checked_sub(1).and_then(|before| lying.iter().position(|&other| other == before));
                lying.insert(before.map_or(0, |before| before + 1), at);
            }
            (0..rank).map(|at| lying.iter().position(|&other| other == at).unwrap_or(at)).collect()
        })
    }

    /// Returns the orders that either of two tensors of one shape may have.
    pub(super) fn or(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(mut all), Some(others)) => {
                all.extend(others);
                Self::of(all)
            }
            _ => Self::UNKNOWN,
        }
    }

    fn changed(&self, rank: usize, change: impl Fn(&[usize]) -> Vec<usize>) -> Self {
        match self.all(rank) {
            Some(all) => Self::of(all.iter().map(|order| change(order)).collect()),
            None => Self::UNKNOWN,
        }
    }

    fn of(mut orders: Vec<Vec<usize>>) -> Self {
        orders.retain(|order| !order.iter().copied().eq(0..order.len()));
        orders.sort();
        orders.dedup();
        Self((orders.len() <= ORDERS_MAX).then_some(orders))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(orders: &[&[usize]]) -> Orders {
        Orders(Some(orders.iter().map(|order| order.to_vec()).collect()))
    }

    #[test]
    fn a_transposition_may_be_carried_out_or_be_moved_on() {
        let once = Orders::OWN.transposed(&[0, 2, 1]);
        assert_eq!(once, of(&[&[0, 2, 1]]));
        // Twice is not at all, or once of them.
        assert_eq!(once.transposed(&[0, 2, 1]), of(&[&[0, 2, 1]]));
        // Of [rows, time, width] comes [time, width, rows], in which the rows still lie first.
        let cycle = Orders::OWN.transposed(&[1, 2, 0]);
        assert_eq!(cycle, of(&[&[1, 2, 0]]));
        assert_eq!(cycle.transposed(&[1, 2, 0]), of(&[&[1, 2, 0], &[2, 0, 1]]));
        assert_eq!(Orders::OWN.transposed(&[0, 1]), Orders::OWN);
        assert_eq!(Orders::UNKNOWN.transposed(&[1, 0]), Orders::UNKNOWN);
    }

    #[test]
    fn dimensions_come_and_go() {
        let cycle = of(&[&[2, 0, 1]]);
        assert_eq!(cycle.without(&[1], 3), of(&[&[1, 0]]));
        assert_eq!(cycle.without(&[0], 3), Orders::OWN);
        assert_eq!(of(&[&[1, 0]]).with(&[0], 3), of(&[&[0, 2, 1]]));
        assert_eq!(of(&[&[1, 0]]).with(&[2], 3), of(&[&[2, 0, 1]]));
        assert_eq!(Orders::OWN.with(&[1, 2], 4), Orders::OWN);
        assert_eq!(cycle.all(3), Some(vec![vec![0, 1, 2], vec![2, 0, 1]]));
        assert_eq!((cycle.all(2), cycle.without(&[0], 2)), (None, Orders::UNKNOWN));
    }

    #[test]
    fn those_that_are_too_many_are_not_known() {
        let mut all = Orders::OWN;
        for order in [[0, 1, 3, 2], [0, 2, 1, 3], [0, 2, 3, 1], [0, 3, 1, 2], [0, 3, 2, 1], [1, 0, 2, 3]] {
            all = all.or(of(&[&order]));
            assert!(all.all(4).is_some());
        }
        assert_eq!(all.clone().or(Orders::OWN), all);
        assert_eq!(all.or(of(&[&[1, 0, 3, 2]])), Orders::UNKNOWN);
    }
}
