package senderdomain

import (
	"net"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"

	"directmailer/internal/content/lint"
	"directmailer/internal/foreign"
)

// spf checks that the domain of the envelope sender allows the addresses to send.
func (c *checker) spf() {
	domain := c.sender.Envelope
	where := "TXT " + domain
	records, err := c.resolver.texts(c.ctx, domain)
	if c.failed(where, err) {
		return
	}
	records = slices.DeleteFunc(records, func(r string) bool {
		first, _, _ := strings.Cut(r, " ")
		return !strings.EqualFold(first, "v=spf1")
	})
	switch {
	case len(records) == 0:
		c.add(lint.SPFMissing, where, "there is no record that begins with v=spf1")
		return
	case len(records) > 1:
		c.add(lint.SPFInvalid, where, "there are several records that begin with v=spf1")
		return
	}
	addresses := make([]string, len(c.sender.Addresses))
	for i, ip := range c.sender.Addresses {
		addresses[i] = ip.Unmap().String()
	}
	if len(addresses) == 0 {
		c.evaluate(where, "192.0.2.1", false)
	}
	for _, ip := range addresses {
		if !c.evaluate(where, ip, true) {
			return
		}
	}
}

// evaluate evaluates the record for an address. If the address only stands for some other, only a
// record that cannot be read is reported, or one that allows everybody. It returns false if the
// record is of no use.
func (c *checker) evaluate(where, ip string, sends bool) bool {
	result, err := spf.CheckHostWithSender(net.ParseIP(ip), c.sender.Envelope, "bounces@"+c.sender.Envelope,
		spf.WithContext(c.ctx), spf.WithResolver(forSPF{c.resolver}))
	switch {
	case result == spf.PermError:
		c.add(lint.SPFInvalid, where, "the record cannot be evaluated: "+foreign.Line(err.Error()))
		return false
	case result == spf.TempError:
		c.add(lint.DNSUnknown, where, "a name that the record names could not be looked up")
		return false
	case sends && result != spf.Pass:
		c.add(lint.SPFNotAllowed, where, "the record does not allow "+ip+" (it says "+string(result)+")")
	case !sends && result == spf.Pass:
		c.add(lint.SPFAllowsAll, where, "the record allows every address to send")
	}
	return true
}

// dmarc checks the policy of From's domain, and whether anything is aligned with it.
func (c *checker) dmarc() {
	tags, ok := c.policy()
	if !ok {
		return
	}
	strict := func(tag string) bool { return tags[tag] == "s" }
	aligned := func(domain string, strict bool) bool {
		return domain == c.sender.From || !strict && lint.Aligned(domain, c.sender.From)
	}
	if aligned(c.sender.Envelope, strict("aspf")) ||
		slices.ContainsFunc(c.sender.Keys, func(k Key) bool { return aligned(k.Domain, strict("adkim")) }) {
		return
	}
	f := lint.New(lint.DMARCNotAligned, "From "+c.sender.From,
		"neither the envelope sender's domain nor that of a key is aligned with From's")
	if len(c.sender.Keys) == 0 {
		f.Severity = lint.Warning // a relay may sign
	}
	c.keep(f)
}

// policy returns the tags of the DMARC record of From's domain, or of the domain that is
// registered.
func (c *checker) policy() (tags map[string]string, ok bool) {
	var where string
	var records []string
	for _, domain := range slices.Compact([]string{c.sender.From, lint.Organization(c.sender.From)}) {
		where = "TXT _dmarc." + domain
		all, err := c.resolver.texts(c.ctx, "_dmarc."+domain)
		if c.failed(where, err) {
			return nil, false
		}
		records = slices.DeleteFunc(all, func(r string) bool {
			name, value, _ := strings.Cut(r, "=")
			version, _, _ := strings.Cut(value, ";")
			return strings.TrimSpace(name) != "v" || strings.TrimSpace(version) != "DMARC1"
		})
		if len(records) > 0 {
			break
		}
	}
	switch len(records) {
	case 0:
		c.add(lint.DMARCMissing, "TXT _dmarc."+c.sender.From, "there is no record that begins with v=DMARC1")
		return nil, true
	case 1:
	default:
		c.add(lint.DMARCInvalid, where, "there are several records, so receivers use none")
		return nil, true
	}
	tags = tagsOf(records[0])
	switch tags["p"] {
	case "none":
		c.add(lint.DMARCNone, where, "the record says p=none")
	case "quarantine", "reject":
	default:
		c.add(lint.DMARCInvalid, where, "p= is not none, quarantine or reject")
	}
	return tags, true
}
