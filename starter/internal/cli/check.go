package cli

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"

	"directmailer/internal/audience/query"
	"directmailer/internal/config"
	"directmailer/internal/database"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/temporalclient"
)

// checkPatience is how long any one of the checks may take.
const checkPatience = 15 * time.Second

// finding is the answer of one check.
type finding struct {
	What   string  `json:"what"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail"`
	Took   float64 `json:"seconds"`
}

func (a *app) checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check PostgreSQL, Temporal, workers, drop points and sources, and print the latency of each",
		Long: `Checks PostgreSQL (version, schema), Temporal, whether workers ask for work, and each drop point of DM_DROP_POINTS: it
connects, greets, encrypts and logs in as a mailing would, or writes and removes a file in a drop directory. No mail is
sent. It logs in to each source database of DM_SOURCES, too, and asks it nothing. All checks run at the same time.`,
		Example: "  starter check\n  DM_DROP_POINTS='mx=smtp://mail.example.com' starter check --output json",
		Args:    wants(),
	}
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := settings()
		if err != nil {
			return err
		}
		findings := runChecks(cmd.Context(), c)
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		if output.json() {
			err = writeJSON(a.Out, findings)
		} else {
			a.showFindings(findings)
		}
		if err != nil {
			return err
		}
		return badFindings(findings)
	}
	return cmd
}

func (a *app) showFindings(findings []finding) {
	rows := make([][]string, len(findings))
	for i, f := range findings {
		usable := "yes"
		if !f.OK {
			usable = "NO"
		}
		rows[i] = []string{f.What, usable, f.Detail, fmt.Sprintf("%.0f ms", f.Took*1000)}
	}
	writeFitted(a.Out, []string{"what", "usable", "detail", "took"}, rows, map[string]int{"what": 24, "detail": 50}, "took")
}

func badFindings(findings []finding) error {
	var bad []string
	for _, f := range findings {
		if !f.OK {
			bad = append(bad, f.What)
		}
	}
	if len(bad) > 0 {
		return failf(NotCompleted, "not usable: %s", strings.Join(bad, ", "))
	}
	return nil
}

// probe is one check: its answer is what is worth knowing, its error what is wrong.
type probe struct {
	what string
	run  func(context.Context) (string, error)
}

func runChecks(ctx context.Context, c config.Starter) []finding {
	probes := []probe{
		{"PostgreSQL", func(ctx context.Context) (string, error) { return checkDatabase(ctx, c.DatabaseURL) }},
		{"Temporal", checkTemporal},
		{"workers", func(ctx context.Context) (string, error) { return checkWorkers(ctx, c.TaskQueue) }},
	}
	for _, point := range c.DropPoints {
		probes = append(probes, probe{"drop point " + point.Name, func(ctx context.Context) (string, error) { return checkDropPoint(ctx, point) }})
	}
	for _, config := range c.Sources {
		probes = append(probes, probe{"source " + config.Name, func(ctx context.Context) (string, error) { return checkSource(ctx, config) }})
	}
	findings := make([]finding, len(probes))
	var wg sync.WaitGroup
	for i, p := range probes {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkPatience)
			defer cancel()
			began := time.Now()
			detail, err := p.run(ctx)
			if err != nil {
				detail = textOf(err)
			}
			findings[i] = finding{What: p.what, OK: err == nil, Detail: clean(detail), Took: time.Since(began).Seconds()}
		})
	}
	wg.Wait()
	if len(c.DropPoints) == 0 {
		findings = append(findings, finding{What: "drop points", OK: true, Detail: "none named in DM_DROP_POINTS of this shell: the workers' own are not checked"})
	}
	return findings
}

func checkDatabase(ctx context.Context, url string) (string, error) {
	pool, err := openPool(ctx, url)
	if err != nil {
		return "", err
	}
	defer pool.Close()
	version, err := database.CheckServer(ctx, pool)
	if err != nil {
		return "", err
	}
	if err := database.CheckMigrated(ctx, pool); err != nil {
		return "", err
	}
	return fmt.Sprintf("version %s at %s, migrated", version, database.Place(url)), nil
}

func checkTemporal(ctx context.Context) (string, error) {
	c, err := dial(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return fmt.Sprintf("answers at %s, namespace %s", c.Address, c.Namespace), nil
}

func checkWorkers(ctx context.Context, queue string) (string, error) {
	c, err := dial(ctx)
	if err != nil {
		return "", fmt.Errorf("not known: Temporal does not answer")
	}
	defer c.Close()
	n, last, err := pollers(ctx, c, queue)
	if err != nil {
		return "", temporalFailure("read the task queue", err)
	}
	if n == 0 {
		return "", fmt.Errorf("none polls the task queue %q", queue)
	}
	return fmt.Sprintf("%s on the task queue %q, the latest %s ago", count(n, "worker"), queue, rounded(time.Since(last))), nil
}

// pollers counts the workers that asked for work on the queue in the last minutes, and tells when the last one did.
func pollers(ctx context.Context, c *temporalclient.Cluster, queue string) (n int, last time.Time, err error) {
	d, err := c.DescribeTaskQueue(ctx, queue, enumspb.TASK_QUEUE_TYPE_ACTIVITY)
	if err != nil {
		return 0, last, err
	}
	for _, p := range d.Pollers {
		if at := p.LastAccessTime.AsTime(); at.After(last) {
			last = at
		}
	}
	return len(d.Pollers), last, nil
}

func checkDropPoint(ctx context.Context, c droppoint.Config) (string, error) {
	points := droppoint.NewSet([]droppoint.Config{c})
	defer points.Close()
	point, _ := points.Get(c.Name)
	return c.String(), point.Check(ctx).Err
}

func checkSource(ctx context.Context, c query.Config) (string, error) {
	return c.String(), query.NewSet([]query.Config{c}).Check(ctx, c.Name, checkPatience)
}
