package ratelimit

import "math/bits"

// frame is the part of a frame of turns that this worker holds. Turn n may be taken from at +
// n*spacing on.
type frame struct {
	at      int64 // by the database's clock
	spacing int64
	turns   int64
	held    []uint64 // a bit for each turn that is ours
	next    int      // words of held before it are empty
}

func newFrame(at, spacing, turns int64) frame {
	return frame{at: at, spacing: spacing, turns: turns, held: make([]uint64, (turns+63)/64)}
}

// add takes the turns that are given away as number first to first+n-1 of the frame. Consecutive
// ones lie far apart and evenly over the frame, so that every worker can send all the time: a
// worker with half of the turns has nearly every other one.
//
// All workers must agree on the order: it cannot be changed while different versions run.
func (f *frame) add(first, n int64) {
	stride := strideOf(f.turns)
	turn := first % f.turns * stride % f.turns
	for range n {
		f.held[turn/64] |= 1 << (turn % 64)
		if turn += stride; turn >= f.turns {
			turn -= f.turns
		}
	}
	f.next = 0
}

// strideOf returns a number near the golden section of turns that has no divisor in common with it.
// Of these it is the one whose continued fraction has the smallest greatest term: so the gaps
// between the turns of a share differ least (three-distance theorem).
func strideOf(turns int64) int64 {
	golden := turns * 618034 / 1000000
	best, least := int64(1), turns
	for stride := max(1, golden-20); stride <= min(turns-1, golden+20); stride++ {
		if greatest, coprime := continued(stride, turns); coprime && greatest < least {
			best, least = stride, greatest
		}
	}
	return best
}

// continued returns the greatest term of the continued fraction of a/b, and whether the two are
// coprime, as the last step of Euclid's algorithm shows.
func continued(a, b int64) (greatest int64, coprime bool) {
	for a != 0 {
		greatest = max(greatest, b/a)
		a, b = b%a, a
	}
	return greatest, b == 1
}

// first is the earliest turn that is ours and when it comes; ok is false without one.
func (f *frame) first() (turn int, at int64, ok bool) {
	for ; f.next < len(f.held); f.next++ {
		if word := f.held[f.next]; word != 0 {
			turn = f.next*64 + bits.TrailingZeros64(word)
			return turn, f.at + int64(turn)*f.spacing, true
		}
	}
	return 0, 0, false
}

// drop gives up a turn.
func (f *frame) drop(turn int) { f.held[turn/64] &^= 1 << (turn % 64) }
