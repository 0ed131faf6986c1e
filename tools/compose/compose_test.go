// Package compose checks docker-compose.yml. It is a module of its own, so that Compose's parser is
// no dependency of Direct Mailer.
package compose

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"directmailer/internal/config"
	"directmailer/tools/temporal"
)

const (
	root     = "../.."
	password = "0123456789abcdef"
)

// load reads the file as `docker compose` does, with every profile and without this machine's
// environment.
func load(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")},
		cli.WithProfiles([]string{"*"}), cli.WithEnv([]string{"POSTGRES_PASSWORD=" + password,
			"DM_TOKEN_KEYS=" + password + password}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("Compose does not accept docker-compose.yml: %v", err)
	}
	return project
}

func TestThereIsNoDefaultPassword(t *testing.T) {
	t.Parallel()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := options.LoadProject(t.Context()); err == nil || !strings.Contains(err.Error(), "make compose-env") {
		t.Errorf("without a password: %v", err)
	}
	file := filepath.Join(t.TempDir(), "env")
	made := exec.CommandContext(t.Context(), "make", "-s", "-C", root, "compose-env", "ENV="+file)
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	first, _ := os.ReadFile(file)
	if !regexp.MustCompile(`^POSTGRES_PASSWORD=[0-9a-f]{32}\nDM_TOKEN_KEYS=[0-9a-f]{32}\n$`).Match(first) {
		t.Errorf("got %q", first)
	}
	again := exec.CommandContext(t.Context(), made.Args[0], made.Args[1:]...)
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if second, _ := os.ReadFile(file); string(second) != string(first) {
		t.Error("a second run changes the password, which PostgreSQL's volume still has")
	}
}

func TestEveryServiceWaitsUntilWhatItNeedsIsUsable(t *testing.T) {
	t.Parallel()
	project := load(t)
	need := map[string]map[string]string{
		"migrate": {"postgres": types.ServiceConditionHealthy},
		"worker": {"postgres": types.ServiceConditionHealthy, "temporal": types.ServiceConditionHealthy,
			"mailpit": types.ServiceConditionHealthy,
			"migrate": types.ServiceConditionCompletedSuccessfully},
		"starter": {"temporal": types.ServiceConditionHealthy, "migrate": types.ServiceConditionCompletedSuccessfully},
	}
	for name, wants := range need {
		for on, condition := range wants {
			if got := project.Services[name].DependsOn[on].Condition; got != condition {
				t.Errorf("%s depends on %s with the condition %q, not %q", name, on, got, condition)
			}
		}
	}
	for name, service := range project.Services {
		for on, d := range service.DependsOn {
			if d.Condition == types.ServiceConditionStarted {
				t.Errorf("%s waits for %s to be started only", name, on)
			}
			if check := project.Services[on].HealthCheck; d.Condition == types.ServiceConditionHealthy &&
				(check == nil || check.Disable || len(check.Test) < 2) {
				t.Errorf("%s waits for the health of %s, which has no health check", name, on)
			}
		}
	}
}

func TestWorkerAndStarterAreToldOnlyWhatTheyKnow(t *testing.T) {
	t.Parallel()
	project := load(t)
	for service, known := range map[string]any{"worker": &config.Worker{}, "starter": &config.Starter{},
		"migrate": &config.Starter{}} {
		fields, err := env.GetFieldParams(known)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, f := range fields {
			names[f.Key] = true
		}
		set := project.Services[service].Environment
		for _, name := range slices.Sorted(maps.Keys(set)) {
			if !names[name] && !strings.HasPrefix(name, "TEMPORAL_") {
				t.Errorf("%s is told %s, which it does not read", service, name)
			}
		}
		for _, name := range []string{"DATABASE_URL", "DM_DROP_POINTS", "TEMPORAL_ADDRESS"} {
			if v := set[name]; v == nil || *v == "" {
				t.Errorf("%s is not told %s", service, name)
			}
		}
	}
}

// TestTheWorkerAcceptsItsSettings parses the settings with the worker's own code, so that it finds
// an invalid drop point.
func TestTheWorkerAcceptsItsSettings(t *testing.T) {
	for name, value := range load(t).Services["worker"].Environment {
		if value != nil {
			t.Setenv(name, *value)
		}
	}
	worker, err := config.LoadWorker()
	if err != nil {
		t.Fatalf("the worker refuses what docker-compose.yml tells it: %v", err)
	}
	if len(worker.DropPoints) != 1 || worker.DropPoints[0].Name != "mail" {
		t.Errorf("the worker has %d drop points, not the one called mail", len(worker.DropPoints))
	}
}

// TestPlacesNamedInTheSettingsAreServices fails if a service is renamed in one place only.
func TestPlacesNamedInTheSettingsAreServices(t *testing.T) {
	t.Parallel()
	project := load(t)
	set := project.Services["worker"].Environment
	for name, place := range map[string]string{"DATABASE_URL": "@postgres:5432/", "TEMPORAL_ADDRESS": "temporal:7233",
		"DM_DROP_POINTS": "smtp://mailpit:1025"} {
		if set[name] == nil || !strings.Contains(*set[name], place) {
			t.Errorf("%s does not name %s", name, place)
		}
		service, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(place, "@"), "smtp://"), ":")
		if _, ok := project.Services[service]; !ok {
			t.Errorf("%s names %s, which is no service", name, service)
		}
	}
}

func TestNothingIsReachableFromOtherMachines(t *testing.T) {
	t.Parallel()
	for name, service := range load(t).Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes port %d on %q", name, port.Target, port.HostIP)
			}
		}
		if service.NetworkMode == "host" || service.Privileged {
			t.Errorf("%s is not kept apart from the machine", name)
		}
	}
}

var pinned = regexp.MustCompile(`^[^@]*[0-9][^@]*@sha256:[0-9a-f]{64}$`)

func TestWhatIsNotOursIsPinnedAndKept(t *testing.T) {
	t.Parallel()
	project := load(t)
	built := map[string]string{} // the folder of each image that a service builds
	for _, service := range project.Services {
		if service.Build != nil {
			built[service.Image] = service.Build.Context
		}
	}
	for name, service := range project.Services {
		if built[service.Image] == "" && !pinned.MatchString(service.Image) {
			t.Errorf("%s runs %s, which is a different program tomorrow", name, service.Image)
		}
		if service.Image != project.Services["worker"].Image && !slices.ContainsFunc(service.Volumes,
			func(v types.ServiceVolumeConfig) bool { return v.Type == types.VolumeTypeVolume && v.Source != "" }) {
			t.Errorf("%s keeps its data in no named volume: it is lost with the container", name)
		}
	}
	for image, folder := range built {
		file, err := os.ReadFile(filepath.Join(folder, "Dockerfile"))
		if err != nil {
			t.Fatalf("%s: %v", image, err)
		}
		from := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(string(file), -1)
		if len(from) == 0 {
			t.Errorf("%s is built from nothing", image)
		}
		for _, base := range from {
			if !pinned.MatchString(base[1]) {
				t.Errorf("%s is built from %s, which is different tomorrow", image, base[1])
			}
		}
	}
}

// TestTemporalIsTheServerThatTestsRun compares the Dockerfile with the package that has the module
// file of the private server.
func TestTemporalIsTheServerThatTestsRun(t *testing.T) {
	t.Parallel()
	build := load(t).Services["temporal"].Build
	if build == nil {
		t.Fatal("Temporal is not built here")
	}
	if !strings.HasSuffix(build.Context, "/tools/temporal") {
		t.Errorf("Temporal is built from %s", build.Context)
	}
	file, err := os.ReadFile(filepath.Join(build.Context, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"COPY temporal.mod go.mod", "COPY temporal.sum go.sum", " " + temporal.Program + "\n"} {
		if !strings.Contains(string(file), want) {
			t.Errorf("tools/temporal/Dockerfile has no %q", want)
		}
	}
}
