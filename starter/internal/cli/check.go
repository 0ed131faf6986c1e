package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"

	"directmailer/internal/audience/query"
	"directmailer/internal/config"
	"directmailer/internal/database"
	"directmailer/internal/delivery/droppoint"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/start"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

// checkTimeout is how long each check may take.
const checkTimeout = 15 * time.Second

// result is how a check went.
type result string

const (
	usable     result = "usable"
	unusable   result = "unusable"
	warning    result = "warning"
	notChecked result = "not checked"
)

// finding is the answer of one check.
type finding struct {
	What    string  `json:"what"`
	Result  result  `json:"result"`
	Detail  string  `json:"detail"`
	Seconds float64 `json:"seconds"`
}

// findings describes the answers of all checks.
var findings = output.Table[finding]{
	{Title: "what", Wrap: 24, Cell: func(f finding) string { return f.What }},
	{
		Title: "result",
		Cell: func(f finding) string {
			if f.Result == unusable || f.Result == warning {
				return strings.ToUpper(string(f.Result))
			}
			return string(f.Result)
		},
	},
	{Title: "detail", Wrap: 40, Cell: func(f finding) string { return f.Detail }},
	{Title: "took", Right: true, Cell: func(f finding) string {
		if f.Seconds == 0 {
			return ""
		}
		return fmt.Sprintf("%.0f ms", f.Seconds*1000)
	}},
}

func (a *app) checkCommand() *cobra.Command {
	var file string
	var dns start.DNS
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check PostgreSQL, Temporal, workers, drop points and sources, and a mailing",
		Long: `Checks PostgreSQL (version, schema, settings, connections), Temporal (connection, namespace),
whether workers ask for work, and each drop point of DM_DROP_POINTS. A mail server is greeted, and
logged in to, as a mailing does it. In a drop directory a file is written and removed. No mail is
sent. The command also logs in to each source database of DM_SOURCES, and reads nothing there. It
prints how long each check took. All checks run at the same time, for at most 15 seconds. A WARNING
is about a setting that endangers mailings and does not stop them.

With --file the command first checks a mailing as start does, and starts nothing. It reads the
file and the header of its list, renders the messages of a sample of real recipients, and looks at
them as receivers and readers see them: unsubscribe, signature, links, images, size, and more.
Each finding has a code, a severity, its place, and what to do. start refuses a mailing that has an
error, unless --despite names its code. The check knows the environment of this shell. That of the
workers may differ.

With --resolver it also looks up the DNS records of the sender: DKIM, SPF, DMARC and MX, and with
--from-ip whether SPF allows the address, and its name. ` + "`starter start --dry-run`" + ` also counts
the recipients.

The exit code is 2 for a mailing with an error, and 8 if something is not usable.`,
		Example: `  starter check

  # check a mailing, too
  starter check -f newsletter.yaml

  # and the DNS records of its sender
  starter check -f newsletter.yaml --resolver system --from-ip 192.0.2.25

  # check a mail server before the workers use it
  DM_DROP_POINTS='mx=smtp://mail.example.com' starter check --output json`,
		Args: command.Needs(),
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.Flags().StringVarP(&file, "file", "f", "", "mailing file to check, too")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	dns.AddFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		withFile := cmd.Flags().Changed("file")
		if !withFile && dns.Resolver != "" {
			return exit.Usagef("--resolver needs --file: it looks up the sender of a mailing")
		}
		var mailing start.Checked
		if withFile {
			var err error
			if mailing, err = start.Check(cmd.Context(), a.App, file, dns); err != nil {
				return err
			}
		}
		c, err := command.Settings()
		if err != nil {
			return err
		}
		found := runChecks(cmd.Context(), c)
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		if !withFile {
			err = findings.Write(a.Out, format, found)
		} else {
			err = checkedMailings.Write(a.Out, format, checkedMailing{mailing, found})
		}
		if err != nil {
			return err
		}
		return checkError(mailing, found)
	}
	return cmd
}

// checkError is the error for what was found, or nil.
func checkError(mailing start.Checked, found []finding) error {
	unusable := unusableError(found)
	codes := start.Errors(mailing.Findings)
	if len(codes) == 0 {
		return unusable
	}
	text := fmt.Sprintf("%s: %s (%s)", mailing.File, output.Count(len(codes), "error"), strings.Join(codes, ", "))
	if unusable != nil {
		text += "; " + unusable.Error()
	}
	return exit.Errorf(exit.BadInput, "%s", text)
}

func unusableError(found []finding) error {
	var bad []string
	for _, f := range found {
		if f.Result == unusable {
			bad = append(bad, f.What)
		}
	}
	if len(bad) > 0 {
		return exit.Errorf(exit.NotCompleted, "not usable: %s", strings.Join(bad, ", "))
	}
	return nil
}

// check is one check. It returns what is worth knowing, or what is wrong.
type check struct {
	what string
	run  func(context.Context) (string, error)
}

func runChecks(ctx context.Context, c config.Starter) []finding {
	var settings *database.Inspection
	var workers int
	checks := []check{
		{"PostgreSQL", func(ctx context.Context) (detail string, err error) {
			detail, settings, err = checkDatabase(ctx, c.DatabaseURL)
			return detail, err
		}},
		{"Temporal", checkTemporal},
		{"workers", func(ctx context.Context) (detail string, err error) {
			detail, workers, err = checkWorkers(ctx, c.TaskQueue)
			return detail, err
		}},
	}
	for _, d := range c.DropPoints {
		checks = append(
			checks,
			check{"drop point " + d.Name, func(ctx context.Context) (string, error) { return checkDropPoint(ctx, d) }},
		)
	}
	for _, s := range c.Sources {
		checks = append(
			checks,
			check{"source " + s.Name, func(ctx context.Context) (string, error) { return checkSource(ctx, s) }},
		)
	}
	found := make([]finding, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			began := time.Now()
			detail, err := check.run(ctx)
			found[i] = finding{
				What:    check.what,
				Result:  usable,
				Detail:  output.Clean(detail),
				Seconds: time.Since(began).Seconds(),
			}
			var warns warned
			switch {
			case errors.As(err, &warns):
				found[i].Result, found[i].Detail = warning, string(warns)
			case err != nil:
				found[i].Result, found[i].Detail = unusable, command.TextOf(err)
			}
		})
	}
	wg.Wait()
	if settings != nil {
		found = slices.Insert(found, 1, settingsFindings(*settings, workers)...)
	}
	if len(c.DropPoints) == 0 {
		found = append(found, finding{What: "drop points", Result: notChecked,
			Detail: "DM_DROP_POINTS is not set in this shell, and those of the workers are only known to them"})
	}
	return found
}

func checkTemporal(ctx context.Context) (string, error) {
	c, err := command.Dial(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.CheckNamespace(ctx); err != nil {
		return "", err
	}
	found, err := c.FindSearchAttributes(ctx)
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("answers at %s, namespace %s", c.Address, c.Namespace)
	if found.Warning != "" {
		detail += "; " + found.Warning
	}
	return detail, nil
}

func checkWorkers(ctx context.Context, queue string) (detail string, workers int, err error) {
	c, err := command.Dial(ctx)
	if err != nil {
		return "", 0, errors.New("not known, because Temporal does not answer")
	}
	defer c.Close()
	n, last, err := command.Pollers(ctx, c, queue, enumspb.TASK_QUEUE_TYPE_ACTIVITY)
	if err != nil {
		return "", 0, command.TemporalFailure("read the task queue", err)
	}
	if n == 0 {
		return "", 0, fmt.Errorf("none polls the task queue %q: start one, or check DM_TASK_QUEUE", queue)
	}
	return fmt.Sprintf(
		"%s on the task queue %q, the last one asked for work %s ago",
		output.Count(n, "worker"),
		queue,
		output.Duration(max(time.Since(last), 0)), // Temporal has a clock of its own
	), n, nil
}

func checkDropPoint(ctx context.Context, c droppoint.Config) (string, error) {
	points := droppoint.NewSet([]droppoint.Config{c})
	defer points.Close()
	point, _ := points.Get(c.Name)
	return c.String(), point.Check(ctx).Err
}

func checkSource(ctx context.Context, c query.Config) (string, error) {
	set := query.NewSet([]query.Config{c})
	powers, err := set.Powers(ctx, c.Name, checkTimeout)
	if err == nil && len(powers) > 0 {
		err = warned(query.Advice(c.Name, powers))
	}
	return c.String(), err
}

// warned is what a check warns of.
type warned string

func (w warned) Error() string { return string(w) }
