// Package config reads the environment of worker and starter, and describes it.
//
// The connection to Temporal is not here: it comes from TEMPORAL_* and the profiles of the SDK's
// own envconfig (package temporalclient).
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"directmailer/internal/audience/query"
	"directmailer/internal/content/dkim"
	"directmailer/internal/content/page"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/feedback/inbound"
	"directmailer/internal/feedback/mailbox"
)

// Worker is a worker's environment. A field with the tag file can also be read from the file that
// the variable with the suffix _FILE names.
type Worker struct {
	// DatabaseURL is the PostgreSQL database that all workers and the starter share.
	DatabaseURL string `env:"DATABASE_URL,required,notEmpty" file:"true"`
	// DropPoints are all that mailings may be handed to.
	DropPoints DropPoints `env:"DM_DROP_POINTS,required,notEmpty" file:"true"`
	// Sources are the databases that mailings may query for their audience.
	Sources Sources `env:"DM_SOURCES" file:"true"`
	// DKIM are the keys that sign messages, by the domain of From.
	DKIM dkim.Entries `env:"DM_DKIM"`
	// PageHosts are the hosts and networks that pages may be fetched from although they are not
	// public.
	PageHosts page.Allowed `env:"DM_PAGE_HOSTS"`
	// TokenKeys sign the tokens that name recipients to the outside.
	TokenKeys TokenKeys `env:"DM_TOKEN_KEYS" file:"true"`
	// PublicURL is where recipients reach the public listener of one worker or more.
	PublicURL PublicURL `env:"DM_PUBLIC_URL"`
	// PublicAddress is where this worker's public listener listens. Empty: it has none.
	PublicAddress ListenAddress `env:"DM_PUBLIC_ADDRESS"`
	// PublicCert and PublicKey are the files of the public listener's certificate and its key.
	// Empty: it speaks HTTP, behind a proxy.
	PublicCert string `env:"DM_PUBLIC_CERT"`
	PublicKey  string `env:"DM_PUBLIC_KEY"`
	// PublicProxies are the proxies whose X-Forwarded-For the public listener believes.
	PublicProxies Networks `env:"DM_PUBLIC_PROXIES"`
	// PublicLook is a file with the texts and colours of the unsubscribe pages.
	PublicLook string `env:"DM_PUBLIC_LOOK"`
	// BounceDomain is the domain whose mail comes back to us.
	BounceDomain BounceDomain `env:"DM_BOUNCE_DOMAIN"`
	// InboundAddress is where this worker receives mail that comes back. Not set: it does not.
	InboundAddress inbound.Config `env:"DM_INBOUND_ADDRESS"`
	// InboundMailbox is a mailbox of mail that came back. Not set: this worker reads none.
	InboundMailbox mailbox.Config `env:"DM_INBOUND_MAILBOX" file:"true"`
	// TaskQueue is the Temporal task queue.
	TaskQueue string `env:"DM_TASK_QUEUE" envDefault:"direct-mailer"`
	// MaxBatches bounds the batches that the worker sends at the same time, and as many again that
	// it renders. Memory grows with it.
	MaxBatches int `env:"DM_MAX_BATCHES" envDefault:"8"`
	// StopTimeout is how long a worker that is told to stop may take to finish messages in flight.
	StopTimeout time.Duration `env:"DM_STOP_TIMEOUT" envDefault:"30s"`
	// HealthAddress serves /healthz and /readyz. Empty: nothing is served.
	HealthAddress string     `env:"DM_HEALTH_ADDRESS"`
	LogLevel      slog.Level `env:"DM_LOG_LEVEL" envDefault:"INFO"`
	// LogFormat is text or json.
	LogFormat string `env:"DM_LOG_FORMAT" envDefault:"text"`
}

// DefaultMaxBatches is the default of DM_MAX_BATCHES.
const DefaultMaxBatches = 8

// MaxPrepares is how many lists a worker prepares at the same time. MaxSteps is the same for the
// short activities: opening, closing, and what operators ask for.
const MaxPrepares, MaxSteps = 8, 8

// RenderSlots is how many batches a worker renders at the same time. Slow ones leave half of them
// to others, so there are at least two.
func RenderSlots(maxBatches int) int { return max(maxBatches, 2) }

// DatabaseConnections is how many connections to PostgreSQL a worker opens at most: one for each
// activity that can run at the same time, one for the gate, two for mail that comes back, and some
// to spare. A batch that lends its slot needs none: it waits for its drop points.
func DatabaseConnections(maxBatches int) int {
	return maxBatches + RenderSlots(maxBatches) + MaxPrepares + MaxSteps + 6
}

// Starter is the starter's environment. Each variable may be unset: a command that needs it says
// so.
type Starter struct {
	DatabaseURL string       `env:"DATABASE_URL" file:"true"`
	DropPoints  DropPoints   `env:"DM_DROP_POINTS" file:"true"`
	Sources     Sources      `env:"DM_SOURCES" file:"true"`
	DKIM        dkim.Entries `env:"DM_DKIM"`
	PageHosts   page.Allowed `env:"DM_PAGE_HOSTS"`
	TokenKeys   TokenKeys    `env:"DM_TOKEN_KEYS" file:"true"`
	PublicURL   PublicURL    `env:"DM_PUBLIC_URL"`
	// BounceDomain is the domain whose mail comes back to the workers.
	BounceDomain BounceDomain `env:"DM_BOUNCE_DOMAIN"`
	TaskQueue    string       `env:"DM_TASK_QUEUE" envDefault:"direct-mailer"`
	// WebUI is the address of Temporal's Web UI.
	WebUI WebUI `env:"DM_WEB_UI"`
}

// LoadWorker reads a worker's environment; every problem is reported at once.
func LoadWorker() (Worker, error) {
	// These stay where the environment cannot be read. That is reported then, and nothing else
	// about them.
	w := Worker{MaxBatches: 1, LogFormat: "text"}
	err := load(&w)
	if w.MaxBatches < 1 || w.MaxBatches > 1000 {
		err = errors.Join(err, fmt.Errorf("DM_MAX_BATCHES is %d: set it to 1 to 1000", w.MaxBatches))
	}
	if w.StopTimeout < 0 {
		err = errors.Join(err, errors.New("DM_STOP_TIMEOUT is negative: set it to a duration such as 30s"))
	}
	if w.LogFormat != "text" && w.LogFormat != "json" {
		err = errors.Join(err, errors.New("DM_LOG_FORMAT is neither text nor json"))
	}
	if _, _, keyErr := w.DKIM.Load(); keyErr != nil {
		err = errors.Join(err, eachOf("DM_DKIM", keyErr))
	}
	if err == nil {
		err = errors.Join(needKeys(w.TokenKeys, "DM_PUBLIC_URL", w.PublicURL != ""), w.checkListener(), w.checkInbound())
	}
	return w, err
}

// LoadStarter reads the starter's environment.
func LoadStarter() (Starter, error) {
	var s Starter
	err := load(&s)
	if err == nil {
		err = errors.Join(needKeys(s.TokenKeys, "DM_PUBLIC_URL", s.PublicURL != ""),
			needKeys(s.TokenKeys, "DM_BOUNCE_DOMAIN", s.BounceDomain != ""))
	}
	return s, err
}

func load(target any) error {
	variables, err := readFiles(target)
	if err != nil {
		return err
	}
	err = env.ParseWithOptions(target, env.Options{Environment: variables})
	var all env.AggregateError
	if !errors.As(err, &all) {
		return err
	}
	out := make([]error, len(all.Errors))
	for i, e := range all.Errors {
		out[i] = plain(e, reflect.TypeOf(target).Elem())
	}
	return errors.Join(out...)
}

// plain words an error in terms of variables. It drops the values, because they can hold
// credentials.
func plain(err error, target reflect.Type) error {
	var unset env.VarIsNotSetError
	var empty env.EmptyVarError
	var parse env.ParseError
	switch {
	case errors.As(err, &unset):
		return fmt.Errorf("%s is not set%s", unset.Key, exampleOf(unset.Key))
	case errors.As(err, &empty):
		return fmt.Errorf("%s is empty%s", empty.Key, exampleOf(empty.Key))
	case errors.As(err, &parse):
		field, _ := target.FieldByName(parse.Name)
		name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		switch field.Type {
		case reflect.TypeFor[DropPoints](), reflect.TypeFor[Sources](), reflect.TypeFor[page.Allowed](),
			reflect.TypeFor[WebUI](), reflect.TypeFor[dkim.Entries](), reflect.TypeFor[TokenKeys](),
			reflect.TypeFor[PublicURL](), reflect.TypeFor[ListenAddress](), reflect.TypeFor[Networks](),
			reflect.TypeFor[BounceDomain](), reflect.TypeFor[inbound.Config](), reflect.TypeFor[mailbox.Config]():
			return eachOf(name, parse.Err) // quotes no credentials
		}
		return fmt.Errorf("%s is not %s", name, kindOf(parse.Type))
	}
	return err
}

// exampleOf says what to set a variable to, for those that have no default.
func exampleOf(name string) string {
	switch name {
	case "DATABASE_URL":
		return ": set it to postgres://user:password@host:5432/database"
	case "DM_DROP_POINTS":
		return ": set it to name=url, for example mx=smtp://mail.example.com"
	}
	return ""
}

// eachOf puts the variable's name before each of the errors that err joins.
func eachOf(name string, err error) error {
	var out []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, fmt.Errorf("%s: %w", name, e))
		}
	}
	return errors.Join(out...)
}

func kindOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 30s"
	case reflect.TypeFor[slog.Level]():
		return "a log level: DEBUG, INFO, WARN or ERROR"
	}
	return "a whole number"
}

// DropPoints are named URLs.
type DropPoints []droppoint.Config

// UnmarshalText reads "name=url name=url …", separated by blanks or line breaks. It reports every
// entry that is wrong.
func (d *DropPoints) UnmarshalText(text []byte) error {
	var err error
	if *d, err = named(text, "drop point", droppoint.Parse); len(*d) == 0 && err == nil {
		err = errors.Join(errors.New("there is no drop point in it" + exampleOf("DM_DROP_POINTS")))
	}
	return err
}

// Sources are named URLs of databases.
type Sources []query.Config

// UnmarshalText reads "name=url name=url …", as that of DropPoints does. There may be none.
func (s *Sources) UnmarshalText(text []byte) (err error) {
	*s, err = named(text, "source", query.Parse)
	return err
}

// named parses each "name=url" of the text. what is the word for an entry in errors. The errors
// quote nothing of a URL, because it can hold a password. They quote a name only if a URL follows:
// a blank in a password makes the rest of the password look like an entry.
func named[T any](text []byte, what string, parse func(name, url string) (T, error)) ([]T, error) {
	var all []T
	var problems []error
	seen := map[string]bool{}
	for i, field := range strings.Fields(string(text)) {
		name, url, ok := strings.Cut(field, "=")
		if !ok || strings.Contains(name, ":") || !urlScheme.MatchString(url) {
			problems = append(problems, fmt.Errorf("entry %d is not name=url, such as mx=smtp://mail.example.com: "+
				"entries are separated by blanks, so write a blank in a password as %%20", i+1))
			continue
		}
		config, err := parse(name, url)
		switch {
		case err != nil:
			problems = append(problems, err)
		case seen[name]:
			problems = append(problems, fmt.Errorf("%s %s is named twice", what, name))
		}
		seen[name] = true
		all = append(all, config)
	}
	if len(problems) > 0 { // a host may be a part of a password then
		return nil, errors.Join(problems...)
	}
	return all, nil
}

var urlScheme = regexp.MustCompile(`^([a-z]{1,12}://|dir:)`)

// WebUI is the address of Temporal's Web UI; empty if it is not known.
type WebUI string

// UnmarshalText reads an http or https URL.
func (w *WebUI) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if len(text) > 0 && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		return errors.Join(errors.New("it is not an address such as http://127.0.0.1:8233"))
	}
	*w = WebUI(strings.TrimSuffix(string(text), "/"))
	return nil
}
