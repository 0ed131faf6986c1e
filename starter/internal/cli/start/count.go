package start

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"time"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/optouts"
	"directmailer/internal/ledger"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/listfile"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

// countAudience reads the whole audience once.
func (a *app) countAudience(ctx context.Context, s *command.Store, p plan, r *dryRunResult) error {
	scope, err := s.Mailings.ScopeOf(ctx, p.in.Audience(), p.in.Topic, p.in.IgnoreOptOuts)
	if err != nil {
		return err
	}
	counter := audienceCounter{
		ctx:    ctx,
		store:  s,
		scopes: scope.Respected(),
		seen:   map[uint64]struct{}{}, inactive: map[uint64]struct{}{},
		domains: map[string]int64{},
		seed:    maphash.MakeSeed(),
	}
	switch {
	case p.listFile != "":
		r.Rejected, err = a.countFile(p.list, &counter)
	case p.in.Query != nil:
		var known bool
		if known, err = a.countQuery(ctx, p, &counter); err == nil && !known {
			return nil
		}
	case p.in.Continue != nil:
		err = countContinuation(ctx, s, p, &counter)
	default:
		err = s.Lists.Members(ctx, p.in.List, counter.add)
	}
	if err == nil {
		err = counter.flush()
	}
	counter.fill(r)
	return err
}

func (a *app) countFile(f *csvlist.File, counter *audienceCounter) (rejected int64, err error) {
	r, err := f.Members()
	if err != nil {
		return 0, listfile.Failure(err)
	}
	defer r.Close()
	if err := counter.skipInactive(f); err != nil {
		return 0, listfile.Failure(err)
	}
	end := listfile.ReportDecisions(a.App, f, r)
	defer end()
	for {
		m, err := r.Next()
		switch {
		case err == io.EOF && r.Rejected() > 0 && counter.members == 0:
			return r.Rejected(), exit.Usagef("%s has no usable row", output.Base(f.Name()))
		case err == io.EOF:
			return r.Rejected(), nil
		case err != nil:
			return r.Rejected(), listfile.Failure(err)
		}
		if err := counter.addKey(m.Address.Key()); err != nil {
			return r.Rejected(), err
		}
	}
}

// countQuery runs the query, if this shell has the source.
func (a *app) countQuery(ctx context.Context, p plan, counter *audienceCounter) (known bool, err error) {
	q := p.in.WithDefaults().Query
	sources, err := knownSources()
	if err != nil || !sources.Has(q.Source) {
		return false, err
	}
	rows, err := sources.Query(ctx, q.Source, q.SQL, time.Duration(q.Timeout))
	if err != nil {
		return true, queryFailure(p, err)
	}
	defer rows.Close()
	for {
		m, err := rows.Next()
		if err == io.EOF {
			if n := rows.Pasted(); n > 0 {
				a.Say("took quotation marks, bullets, dashes or invisible characters off %s",
					output.Count(n, "address"))
			}
			return true, nil
		}
		if err != nil {
			return true, queryFailure(p, err)
		}
		if err := counter.addKey(m.Address.Key()); err != nil {
			return true, err
		}
	}
}

// countContinuation counts the recipients of the earlier mailing that are continued.
func countContinuation(ctx context.Context, s *command.Store, p plan, counter *audienceCounter) error {
	c := p.in.WithDefaults().Continue
	old, err := s.Mailings.Get(ctx, c.Mailing)
	if err != nil {
		return command.NotFound(err, c.Mailing)
	}
	return s.Ledger.Report(ctx, old.Key, outcomesOf(*c), func(l ledger.Line) error { return counter.add(l.Address) })
}

// audienceCounter counts addresses. It keeps a hash of each, to tell duplicates.
type audienceCounter struct {
	ctx   context.Context
	store *command.Store
	// scopes are those of the opt-outs that the mailing respects.
	scopes []optouts.Scope
	seed   maphash.Seed

	members, recipients, optedOut int64
	seen, inactive                map[uint64]struct{}
	domains                       map[string]int64
	chunk                         []string // different addresses whose opt-outs are not looked up yet
}

func (c *audienceCounter) add(text string) error {
	a, err := address.Parse(text)
	if err != nil {
		return errors.New("a stored address cannot be read") // it was checked when it was stored
	}
	return c.addKey(a.Key())
}

// skipInactive notes the addresses that a row of the file says must not be mailed. An import leaves
// out every row with such an address.
func (c *audienceCounter) skipInactive(f *csvlist.File) error {
	if !f.UsesStatus() {
		return nil
	}
	r, err := f.Members()
	if err != nil {
		return err
	}
	defer r.Close()
	r.WithInactive = true
	for {
		m, err := r.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case m.Inactive:
			c.inactive[maphash.String(c.seed, m.Address.Key())] = struct{}{}
		}
	}
}

func (c *audienceCounter) addKey(key string) error {
	hash := maphash.String(c.seed, key)
	if _, there := c.inactive[hash]; there {
		return nil
	}
	c.members++
	if _, there := c.seen[hash]; there {
		return nil
	}
	c.seen[hash] = struct{}{}
	c.recipients++
	if c.chunk = append(c.chunk, key); len(c.chunk) < command.KeysAtOnce {
		return nil
	}
	return c.flush()
}

// flush looks up which of the chunk have opted out, and counts the domains of the others.
func (c *audienceCounter) flush() error {
	if len(c.chunk) == 0 {
		return nil
	}
	out, err := c.store.OptOuts.Excluded(c.ctx, c.chunk, c.scopes)
	if err != nil {
		return err
	}
	c.optedOut += int64(len(out))
	for _, key := range c.chunk {
		c.domains[domainOf(key)]++
	}
	for _, key := range out {
		if d := domainOf(key); c.domains[d] > 1 {
			c.domains[d]--
		} else {
			delete(c.domains, d)
		}
	}
	c.chunk = c.chunk[:0]
	return nil
}

func domainOf(key string) string { return key[strings.LastIndexByte(key, '@')+1:] }

func (c *audienceCounter) fill(r *dryRunResult) {
	r.Counted = true
	r.Members, r.Duplicates, r.Recipients = c.members, c.members-c.recipients, c.recipients
	r.OptedOut, r.Sendable = c.optedOut, c.recipients-c.optedOut
	for d, n := range c.domains {
		r.Domains = append(r.Domains, domainCount{d, n})
	}
	slices.SortFunc(r.Domains, func(a, b domainCount) int {
		return cmp.Or(cmp.Compare(b.Recipients, a.Recipients), cmp.Compare(a.Domain, b.Domain))
	})
	r.DomainsInAll = len(r.Domains)
	r.Domains = r.Domains[:min(topDomains, len(r.Domains))]
}
