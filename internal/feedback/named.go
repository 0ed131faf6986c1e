package feedback

import (
	"strings"

	"directmailer/internal/feedback/token"
)

// Named is what an address of ours says: whom it names, and what mail to it means.
type Named struct {
	Recipient token.Recipient
	Kind      token.Kind // Bounce or Unsubscribe
}

// maxLocal is the length of the longest local part (RFC 5321, 4.5.3.1.1), in octets.
const maxLocal = 64

// ReadAddress returns whom an address names: a bounce address, or an unsubscribe address. ok is
// false for an address without a token that one of the keys has signed. The case of letters does
// not matter. ReadAddress asks no database.
//
// The token may stand anywhere between characters that are no letter and no digit, as in
// "bounces+TOKEN" and "b-TOKEN".
func ReadAddress(keys token.Keys, address string) (named Named, ok bool) {
	return readAddress(address, func(kind token.Kind, in string) (token.Recipient, bool) {
		r, err := keys.FromAddress(kind, in)
		return r, err == nil
	})
}

// ClaimOfAddress returns whom an address names according to its token, whoever has signed it. A
// token that none of our keys has signed is forged, or its key is missing here.
func ClaimOfAddress(address string) (claimed Named, ok bool) {
	return readAddress(address, token.ClaimOfAddress)
}

func readAddress(address string, read func(token.Kind, string) (token.Recipient, bool)) (named Named, ok bool) {
	local := address
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		local = address[:at]
	}
	if len(local) > maxLocal {
		return named, false
	}
	isBetween := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	}
	for part := range strings.FieldsFuncSeq(local, isBetween) {
		if len(part) < minToken {
			continue
		}
		for _, kind := range []token.Kind{token.Bounce, token.Unsubscribe} {
			if r, ok := read(kind, part); ok {
				return Named{r, kind}, true
			}
		}
	}
	return named, false
}

// minToken is less than the length of the shortest token in an address.
const minToken = 20
