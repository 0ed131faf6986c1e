package unsubscribe

import (
	"strconv"
	"strings"
	"time"
)

// undoTime is how long the page offers to undo.
const undoTime = time.Hour

// proof returns what the page of somebody who has just left sends to undo that. It holds its end
// and a keyed hash over it, the token and the choice. So nobody can undo with the link alone, which
// scanners and other readers of the mail have as well. A token that is not genuine gets one too.
func (h *handler) proof(in string, c choice) string {
	end := strconv.FormatInt(h.now().Add(undoTime).Unix(), 36)
	return end + "." + h.keys.Seal(proofText(end, in, c))
}

// checkProof reports whether a proof is ours, for this token and choice, and not too old.
func (h *handler) checkProof(proof, in string, c choice) bool {
	end, seal, _ := strings.Cut(proof, ".")
	until, err := strconv.ParseInt(end, 36, 64)
	return h.keys.SealedBy(proofText(end, in, c), seal) && err == nil && h.now().Unix() < until
}

func proofText(end, in string, c choice) string {
	return "undo\n" + end + "\n" + strconv.Itoa(int(c)) + "\n" + in
}
