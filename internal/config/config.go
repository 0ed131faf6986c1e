// Package config is what workers and the starter are told by their environment. The Temporal connection is not here: it comes from
// TEMPORAL_* and the profiles of the SDK's own envconfig.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"directmailer/internal/audience/query"
	"directmailer/internal/content/page"
	"directmailer/internal/delivery/droppoint"
)

// Worker is a worker's environment.
type Worker struct {
	// DatabaseURL is the PostgreSQL database that all workers and the starter share.
	DatabaseURL string `env:"DATABASE_URL,required,notEmpty"`
	// DropPoints are all that mailings may be handed to: "name=url name=url …". Every worker of a queue must have the same names.
	DropPoints DropPoints `env:"DM_DROP_POINTS,required,notEmpty"`
	// Sources are the databases that mailings may query for their audience: "name=postgres://user:password@host/database …". Optional; every
	// worker of a queue must have the same names.
	Sources Sources `env:"DM_SOURCES"`
	// PageHosts are the hosts and networks that pages may be fetched from although they are not
	// public: "host host:port 10.1.0.0/16 …".
	PageHosts page.Allowed `env:"DM_PAGE_HOSTS"`
	// TaskQueue is the Temporal task queue.
	TaskQueue string `env:"DM_TASK_QUEUE" envDefault:"direct-mailer"`
	// MaxBatches bounds the batches that are sent at the same time, and as many again that are rendered; and with them the memory.
	MaxBatches int `env:"DM_MAX_BATCHES" envDefault:"8"`
	// StopTimeout is how long a worker that was asked to stop may take to finish the messages that are in flight.
	StopTimeout time.Duration `env:"DM_STOP_TIMEOUT" envDefault:"30s"`
	// HealthAddress serves /healthz and /readyz, "127.0.0.1:8080"; empty for none.
	HealthAddress string     `env:"DM_HEALTH_ADDRESS"`
	LogLevel      slog.Level `env:"DM_LOG_LEVEL" envDefault:"INFO"`
	// LogFormat is text or json.
	LogFormat string `env:"DM_LOG_FORMAT" envDefault:"text"`
}

// Starter is the starter's environment. Any of it may be empty: commands that need it say so.
type Starter struct {
	DatabaseURL string       `env:"DATABASE_URL"`
	DropPoints  DropPoints   `env:"DM_DROP_POINTS"`
	Sources     Sources      `env:"DM_SOURCES"`
	PageHosts   page.Allowed `env:"DM_PAGE_HOSTS"`
	TaskQueue   string       `env:"DM_TASK_QUEUE" envDefault:"direct-mailer"`
}

// LoadWorker reads a worker's environment; every problem is reported at once.
func LoadWorker() (Worker, error) {
	w := Worker{MaxBatches: 1} // stays if the variable cannot be read, which is reported then
	err := load(&w)
	if w.MaxBatches < 1 || w.MaxBatches > 1000 {
		err = errors.Join(err, fmt.Errorf("DM_MAX_BATCHES is %d: it must be 1 to 1000", w.MaxBatches))
	}
	if w.StopTimeout < 0 {
		err = errors.Join(err, errors.New("DM_STOP_TIMEOUT must not be negative"))
	}
	if w.LogFormat != "text" && w.LogFormat != "json" {
		err = errors.Join(err, errors.New("DM_LOG_FORMAT must be text or json"))
	}
	return w, err
}

// LoadStarter reads the starter's environment.
func LoadStarter() (Starter, error) {
	var s Starter
	return s, load(&s)
}

func load(target any) error {
	err := env.Parse(target)
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

// plain words an error in terms of variables, and drops values: they can hold credentials.
func plain(err error, target reflect.Type) error {
	var unset env.VarIsNotSetError
	var empty env.EmptyVarError
	var parse env.ParseError
	switch {
	case errors.As(err, &unset):
		return fmt.Errorf("%s is not set", unset.Key)
	case errors.As(err, &empty):
		return fmt.Errorf("%s is empty", empty.Key)
	case errors.As(err, &parse):
		field, _ := target.FieldByName(parse.Name)
		name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		switch field.Type {
		case reflect.TypeFor[DropPoints](), reflect.TypeFor[Sources](), reflect.TypeFor[page.Allowed]():
			return eachOf(name, parse.Err) // quotes no credentials
		}
		return fmt.Errorf("%s cannot be read as %s", name, kindOf(parse.Type))
	}
	return err
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

// UnmarshalText reads "name=url name=url …", separated by blanks or line breaks. It reports every entry that is wrong.
func (d *DropPoints) UnmarshalText(text []byte) error {
	var err error
	if *d, err = named(text, "drop point", droppoint.Parse); len(*d) == 0 && err == nil {
		err = errors.Join(errors.New("there is no drop point in it"))
	}
	return err
}

// Sources are named URLs of databases.
type Sources []query.Config

// UnmarshalText reads what that of DropPoints does. There may be none.
func (s *Sources) UnmarshalText(text []byte) (err error) {
	*s, err = named(text, "source", query.Parse)
	return err
}

// named parses each "name=url" of the text; what is the word for them in errors, which quote nothing of a URL.
func named[T any](text []byte, what string, parse func(name, url string) (T, error)) ([]T, error) {
	var all []T
	var problems []error
	seen := map[string]bool{}
	for i, field := range strings.Fields(string(text)) {
		name, url, ok := strings.Cut(field, "=")
		if !ok || strings.Contains(name, ":") {
			problems = append(problems, fmt.Errorf("entry %d is not name=url", i+1))
			continue
		}
		config, err := parse(name, url)
		switch {
		case err != nil:
			problems = append(problems, err)
		case seen[name]:
			problems = append(problems, fmt.Errorf("%s %s is there twice", what, name))
		}
		seen[name] = true
		all = append(all, config)
	}
	return all, errors.Join(problems...)
}
