package start

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
	"directmailer/internal/audience/query"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/content/render"
	"directmailer/internal/ledger"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/listfile"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

// recipient finds the recipient to render for.
func (a *app) recipient(ctx context.Context, p plan, wanted string) (to render.Recipient, err error) {
	key := ""
	if wanted == "-" {
		line, err := io.ReadAll(io.LimitReader(a.In, 1024))
		if err != nil {
			return to, exit.Usagef("read the standard input: %w", command.ReadReason(err))
		}
		wanted = output.OneLine(string(line))
	}
	if wanted != "" {
		parsed, err := address.Read(wanted)
		if err != nil {
			return to, exit.Usagef("--recipient: the address %w", err)
		}
		key = parsed.Key()
	}
	switch {
	case p.in.Query != nil:
		return a.queriedRecipient(ctx, p, key)
	case p.in.Continue != nil:
		return continuedRecipient(ctx, p, key)
	case p.listFile == "":
		return storedRecipient(ctx, p, key)
	}
	m, number, err := listfile.Find(p.list, func(m member.Member) bool { return key == "" || m.Address.Key() == key })
	if err == io.EOF {
		return to, exit.Errorf(exit.NotFound, "%s has no usable row for this recipient", output.Base(p.listFile))
	}
	if err != nil {
		return to, err
	}
	to = render.Recipient{Number: number, Address: m.Address.String()}
	return to, json.Unmarshal(m.Attributes, &to.Attributes)
}

func storedRecipient(ctx context.Context, p plan, key string) (to render.Recipient, err error) {
	s, err := command.OpenStore(ctx)
	if err != nil {
		return to, err
	}
	defer s.Close()
	if _, err := s.Lists.Get(ctx, p.in.List); errors.Is(err, lists.ErrNotFound) {
		return to, exit.Errorf(exit.NotFound, "no list is named %s, and %s names no file for it", p.in.List, p.name)
	} else if err != nil {
		return to, err
	}
	found, err := s.Lists.First(ctx, p.in.List, key, 1)
	if err != nil {
		return to, err
	}
	if len(found) == 0 {
		return to, exit.Errorf(exit.NotFound, "the list %s does not have this recipient", p.in.List)
	}
	return render.Recipient{Number: 1, Address: found[0].Address, Attributes: found[0].Attributes}, nil
}

// queriedRecipient runs the query, as a worker would. This shell must have the source.
func (a *app) queriedRecipient(ctx context.Context, p plan, key string) (to render.Recipient, err error) {
	rows, err := a.runQuery(ctx, p)
	if err != nil {
		return to, err
	}
	defer rows.Close()
	for {
		m, err := rows.Next()
		switch {
		case err == io.EOF:
			return to, exit.Errorf(exit.NotFound, "the query on %s does not select this recipient", p.in.Query.Source)
		case err != nil:
			return to, queryFailure(p, err)
		case key == "" || m.Address.Key() == key:
			to = render.Recipient{Number: 1, Address: m.Address.String()}
			return to, json.Unmarshal(m.Attributes, &to.Attributes)
		}
	}
}

func queryFailure(p plan, err error) error {
	var fault *query.Fault
	if errors.As(err, &fault) {
		return exit.Errorf(exit.BadInput, "%s: %w", p.file.Locate("query.sql", 0, 0), err)
	}
	return err
}

var errFound = errors.New("found")

// continuedRecipient finds a recipient among those of the earlier mailing that are continued.
func continuedRecipient(ctx context.Context, p plan, key string) (to render.Recipient, err error) {
	s, err := command.OpenStore(ctx)
	if err != nil {
		return to, err
	}
	defer s.Close()
	c := p.in.WithDefaults().Continue
	old, err := s.Mailings.Get(ctx, c.Mailing)
	if err != nil {
		return to, command.NotFound(err, c.Mailing)
	}
	var number int32
	err = s.Ledger.Report(ctx, old.Key, outcomesOf(*c), func(l ledger.Line) error {
		if a, err := address.Parse(l.Address); key != "" && (err != nil || a.Key() != key) {
			return nil
		}
		number = l.Number
		return errFound
	})
	if err == nil {
		return to, exit.Errorf(
			exit.NotFound,
			"mailing %s does not have this recipient among those that are %s",
			c.Mailing,
			strings.Join(c.Outcomes, " or "),
		)
	}
	if !errors.Is(err, errFound) {
		return to, err
	}
	err = s.Recipients.Range(ctx, old.Key, number, number, func(r recipients.Recipient) error {
		to = render.Recipient{Number: 1, Address: r.Address, Attributes: r.Attributes}
		return nil
	})
	return to, err
}
