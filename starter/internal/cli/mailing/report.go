package mailing

import (
	"bufio"
	"context"
	"encoding/csv"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/workflows"
)

var reportOutcomes = []ledger.Status{
	ledger.Sent,
	ledger.Bounced,
	ledger.Failed,
	ledger.OptedOut,
	ledger.Uncertain,
	ledger.Unsent,
	ledger.Open,
}

func (a *app) reportCommand() *cobra.Command {
	var wanted []string
	var file string
	var onlyEvents bool
	cmd := &cobra.Command{
		Use:   "report ID",
		Short: "Export one line per recipient: the outcome and what the server said",
		Long: `Exports one line for each recipient of a mailing: address, outcome, number of attempts, whether
the message may have been delivered twice, drop point, the server's code, enhanced status code
and text, the time, and the classes of the events that came back later. A running mailing can be
reported too. Its recipients without an outcome are "open".

The outcome is what the drop point answered. An event is what somebody reported later: a bounce
by mail, a complaint, a request to unsubscribe. An event changes no outcome. With --events, the
command exports one line for each event instead.

CSV is for spreadsheets: a value that a spreadsheet would take for a formula gets an apostrophe
before it, and control characters become blanks. JSON has the exact values, as one array with
one element a line. The command writes while it reads the ledger, so memory does not grow with
the mailing.

For a mailing that has ended, the command says on the standard error how many addresses the
mailing suppressed for later mailings, and which drop points reported too many non-existent
addresses to be believed.`,
		Example: `  starter report newsletter-2026-11 --output-file recipients.csv
  starter report newsletter-2026-11 --outcome bounced,failed,uncertain

  # what came back later
  starter report newsletter-2026-11 --events

  # who may have got the message twice
  starter report newsletter-2026-11 --output json | jq '.[] | select(.possibly_twice)'`,
		Args: command.NeedsMailing,
	}
	format := output.AddFormat(cmd, "csv", "json")
	cmd.Flags().
		StringSliceVar(&wanted, "outcome", nil, "outcomes of the recipients: "+joinStatuses(reportOutcomes))
	cmd.Flags().BoolVar(&onlyEvents, "events", false, "one line for each event that came back later, with its recipient")
	cmd.Flags().
		StringVar(&file, "output-file", "", "file to write; it appears when it is complete (default: the standard output)")
	_ = cmd.RegisterFlagCompletionFunc(
		"outcome",
		cobra.FixedCompletions(strings.Split(joinStatuses(reportOutcomes), ", "), cobra.ShellCompDirectiveNoFileComp),
	)
	_ = cmd.MarkFlagFilename("output-file")
	cmd.ValidArgsFunction = command.CompleteMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		outcomes, err := parseOutcomes(wanted)
		if err != nil {
			return err
		}
		if onlyEvents && len(outcomes) > 0 {
			return exit.Usagef("--events and --outcome do not go together: an event is no outcome")
		}
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		m, err := s.Mailings.Get(cmd.Context(), args[0])
		if err != nil {
			return command.NotFound(err, args[0])
		}
		err = a.Write(cmd.Context(), file, func(w io.Writer) error {
			if onlyEvents {
				return writeEvents(cmd.Context(), s.Events, m.Key, format.JSON(), w)
			}
			return writeReport(cmd.Context(), s.Ledger, m.Key, outcomes, format.JSON(), w)
		})
		if err != nil {
			return err
		}
		if text := workflows.IgnoredOptOuts(m.IgnoreOptOuts); text != "" {
			a.Say("ignore_opt_outs: %s", text)
		}
		if m.Suppression != nil && !onlyEvents {
			a.saySuppression(m.ID, *m.Suppression)
		}
		return nil
	}
	return cmd
}

// saySuppression says on the standard error which non-existent addresses the mailing suppressed.
func (a *app) saySuppression(id string, s mailings.Suppression) {
	if s.Suppressed > 0 {
		a.Say(
			"%s suppressed: later mailings do not go to addresses that do not exist "+
				"(to undo: starter optout remove --mailing %s --bounced)",
			output.Count(s.Suppressed, "address"),
			id,
		)
	}
	for _, w := range s.Withheld {
		a.Say(
			"no address suppressed on the word of drop point %s: it refused %s of %s as addresses that do not exist, "+
				"%.1f %%; more than %g %% suggests a fault of the server",
			w.DropPoint,
			output.Thousands(w.Bad),
			output.Count(w.Answered, "recipient"),
			100*w.Share(),
			100*optouts.MaxBadShare,
		)
	}
}

func joinStatuses(all []ledger.Status) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

func parseOutcomes(names []string) ([]ledger.Status, error) {
	var outcomes []ledger.Status
	for _, name := range names {
		status := ledger.Status(strings.ReplaceAll(strings.TrimSpace(name), " ", "_"))
		if !slices.Contains(reportOutcomes, status) {
			return nil, exit.Usagef("--outcome: %q is not one of %s", output.Typed(name), joinStatuses(reportOutcomes))
		}
		outcomes = append(outcomes, status)
	}
	return outcomes, nil
}

// reportLine is a line of the report as JSON.
type reportLine struct {
	Address       string        `json:"address"`
	Outcome       ledger.Status `json:"outcome"`
	Attempts      int32         `json:"attempts"`
	PossiblyTwice bool          `json:"possibly_twice"`
	DropPoint     string        `json:"drop_point"`
	Code          int16         `json:"code"`
	Enhanced      string        `json:"enhanced_code"`
	Reply         string        `json:"reply"`
	At            *time.Time    `json:"at"`
	Events        string        `json:"events"`
}

var reportHeader = []string{
	"address",
	"outcome",
	"attempts",
	"possibly_twice",
	"drop_point",
	"code",
	"enhanced_code",
	"reply",
	"at",
	"events",
}

func writeReport(
	ctx context.Context,
	l *ledger.Ledger,
	key int64,
	outcomes []ledger.Status,
	asJSON bool,
	w io.Writer,
) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	if asJSON {
		array := output.NewArray(buffered)
		err := l.Report(ctx, key, outcomes, func(x ledger.Line) error {
			return array.Add(
				reportLine{
					x.Address,
					x.Outcome,
					x.Attempts,
					x.PossiblyTwice,
					x.DropPoint,
					x.Code,
					x.Enhanced,
					x.Reply,
					x.At,
					x.Events,
				},
			)
		})
		if err == nil {
			err = array.End()
		}
		return command.FirstError(err, buffered.Flush)
	}
	c := csv.NewWriter(buffered)
	_ = c.Write(reportHeader) // an error stays until Flush
	record := make([]string, 0, len(reportHeader))
	err := l.Report(ctx, key, outcomes, func(x ledger.Line) error {
		record = appendRecord(record[:0], x)
		return c.Write(record)
	})
	c.Flush()
	if err == nil {
		err = c.Error()
	}
	return command.FirstError(err, buffered.Flush)
}

func appendRecord(record []string, x ledger.Line) []string {
	code, at := "", ""
	if x.Code != 0 {
		code = strconv.Itoa(int(x.Code))
	}
	if x.At != nil {
		at = x.At.UTC().Format(time.RFC3339)
	}
	return append(
		record,
		guard(x.Address),
		string(x.Outcome),
		strconv.Itoa(int(x.Attempts)),
		strconv.FormatBool(x.PossiblyTwice),
		guard(x.DropPoint),
		code,
		guard(x.Enhanced),
		guard(x.Reply),
		at,
		x.Events,
	)
}

// formulas match the sign with which a spreadsheet's formula begins, also of full width: at the
// beginning of a value, and behind a separator inside it. The spreadsheets of many languages take
// the semicolon as the separator of columns.
var (
	formula       = regexp.MustCompile(`^[\s\pZ"']*[=+\-@＝＋－＠]`)
	behindDivider = regexp.MustCompile(`([;|][\s\pZ"']*)([=+\-@＝＋－＠])`)
)

// guard makes a value harmless in a spreadsheet. Local parts of addresses may begin like a formula,
// and servers write replies.
func guard(s string) string {
	s = behindDivider.ReplaceAllString(output.Clean(s), "$1'$2")
	if formula.MatchString(s) {
		return "'" + s
	}
	return s
}
