// Command pulumi-language-nodejs runs Pulumi programs and policy packs on Node.js for a Pulumi CLI that was built from
// its Go module: the vendor ships this host only with its own download. It starts what @pulumi/pulumi brings along in
// node_modules and adds nothing of its own. Installing dependencies, project templates and code generation do not
// belong here; the engine is told that they are not implemented.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/pulumi/pulumi/sdk/v3"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"hotpair/toolchain/internal/serve"
)

// version is that of the CLI and of @pulumi/pulumi that this host is made for.
const version = "3.259.0"

// exitAfterLogging is the exit code of @pulumi/pulumi's runner for "the user has seen the error already" (cmd/run).
const exitAfterLogging = 32

// withoutCompiler is a module that keeps @pulumi/pulumi's policy runner from loading the TypeScript compiler for a pack
// that says `typescript: false`. The runner has no switch for it, and loading it takes a quarter of a second each time.
const withoutCompiler = `data:text/javascript,import m from "node:module"; const load = m._load; ` +
	`m._load = (name, ...rest) => name === "typescript" ? { version: "6.0.0" } ` +
	`: /(^|[/])ts-node(@|$)/.test(name) ? { VERSION: "0", register() {} } : load(name, ...rest);`

type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer
	engine string

	mutex   sync.Mutex
	running map[*exec.Cmd]bool
}

func main() {
	h := &host{engine: serve.EngineAddress(os.Args[1:]), running: map[*exec.Cmd]bool{}}
	serve.Plugin(func(s *grpc.Server) { pulumirpc.RegisterLanguageRuntimeServer(s, h) }, h.stopAll)
}

func (h *host) Handshake(
	_ context.Context, req *pulumirpc.LanguageHandshakeRequest,
) (*pulumirpc.LanguageHandshakeResponse, error) {
	h.engine = req.EngineAddress
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version}, nil
}

// GetRequiredPackages names nothing: the engine would try to download what is named, and each resource registration
// says the plugin and version that it needs anyway.
func (h *host) GetRequiredPackages(
	context.Context, *pulumirpc.GetRequiredPackagesRequest,
) (*pulumirpc.GetRequiredPackagesResponse, error) {
	return &pulumirpc.GetRequiredPackagesResponse{}, nil
}

func (h *host) GetRequiredPlugins(
	context.Context, *pulumirpc.GetRequiredPluginsRequest,
) (*pulumirpc.GetRequiredPluginsResponse, error) {
	return &pulumirpc.GetRequiredPluginsResponse{}, nil
}

func (h *host) About(_ context.Context, req *pulumirpc.AboutRequest) (*pulumirpc.AboutResponse, error) {
	node, err := findNode(req.GetInfo().GetProgramDirectory())
	if err != nil {
		return nil, err
	}
	out, err := exec.Command(node, "--version").Output()
	if err != nil {
		return nil, err
	}
	return &pulumirpc.AboutResponse{Executable: node, Version: strings.TrimSpace(string(out))}, nil
}

// Run executes a program to its end. Its output goes to this process's own standard streams, which the engine shows.
func (h *host) Run(ctx context.Context, req *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	directory := req.GetInfo().GetProgramDirectory()
	if directory == "" {
		directory = req.Pwd
	}
	node, runner, err := findRunner(directory, "run")
	if err != nil {
		return nil, err
	}
	options := req.GetInfo().GetOptions().AsMap()

	args := append(nodeArguments(options), runner,
		"--monitor", req.MonitorAddress, "--engine", h.engine,
		"--project", req.Project, "--stack", req.Stack, "--pwd", req.Pwd)
	if root := req.GetInfo().GetRootDirectory(); root != "" {
		args = append(args, "--root-directory", root)
	}
	if req.DryRun {
		args = append(args, "--dry-run")
	}
	args = append(args, "--parallel", strconv.Itoa(int(req.Parallel)), "--organization", req.Organization)
	program := req.GetInfo().GetEntryPoint()
	if program == "" {
		program = req.Program
	}
	// "." asks the runner for the entry that package.json names; a directory's path would not.
	if program != "." && !filepath.IsAbs(program) {
		program = filepath.Join(directory, program)
	}
	args = append(append(args, program), req.Args...)

	environment, err := configEnvironment(req.Config, req.ConfigSecretKeys)
	if err != nil {
		return nil, err
	}
	if typescript, set := options["typescript"].(bool); !set || typescript {
		environment = append(environment, "PULUMI_NODEJS_TYPESCRIPT=true")
	}

	cmd := exec.CommandContext(ctx, node, args...)
	cmd.Dir = req.Pwd
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), environment...)
	if err := h.start(cmd); err != nil {
		return nil, err
	}
	err = cmd.Wait()
	h.forget(cmd)

	var exit *exec.ExitError
	switch {
	case err == nil:
		return &pulumirpc.RunResponse{}, nil
	case errors.As(err, &exit) && exit.ExitCode() == exitAfterLogging:
		return &pulumirpc.RunResponse{Bail: true}, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return &pulumirpc.RunResponse{
			Error: fmt.Sprintf("Program exited with non-zero exit code: %d", exit.ExitCode()),
		}, nil
	default:
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("Program ended early: %v", err)}, nil
	}
}

// RunPlugin runs a policy pack. @pulumi/policy wants its stack's configuration in the environment while the engine
// sends it over gRPC after the start; the SDK's proxy stands in between, as it does in the vendor's host.
func (h *host) RunPlugin(req *pulumirpc.RunPluginRequest, stream pulumirpc.LanguageRuntime_RunPluginServer) error {
	if req.Kind != "analyzer" {
		return status.Errorf(codes.Unimplemented,
			"this Node.js host runs programs and policy packs only; a %s plugin written for Node.js needs the "+
				"official Pulumi download (https://www.pulumi.com/docs/install/)", req.Kind)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	directory := req.GetInfo().GetProgramDirectory()
	node, runner, err := findRunner(directory, "run-policy-pack")
	if err != nil {
		return err
	}

	sender := &sender{stream: stream}
	proxy, stdout, err := sdk.NewPolicyProxy(ctx, sender.out())
	if err != nil {
		return err
	}
	config, err := proxy.AwaitConfiguration(ctx)
	if err != nil {
		return err
	}

	options := req.GetInfo().GetOptions().AsMap()
	args := nodeArguments(options)
	if typescript, set := options["typescript"].(bool); set && !typescript {
		args = append(args, "--import", withoutCompiler)
	}
	args = append(args, runner, serve.EngineAddress(req.Args), ".")
	cmd := exec.CommandContext(ctx, node, args...)
	cmd.Dir = directory
	cmd.Stdout, cmd.Stderr = stdout, sender.err()
	cmd.Env = append(os.Environ(), req.Env...)
	if config != nil {
		environment, err := configEnvironment(config.Config, config.ConfigSecretKeys)
		if err != nil {
			return err
		}
		dryRun := strconv.FormatBool(config.DryRun)
		cmd.Env = append(append(cmd.Env, environment...),
			"PULUMI_NODEJS_ORGANIZATION="+config.Organization, "PULUMI_ORGANIZATION="+config.Organization,
			"PULUMI_NODEJS_PROJECT="+config.Project, "PULUMI_PROJECT="+config.Project,
			"PULUMI_NODEJS_STACK="+config.Stack, "PULUMI_STACK="+config.Stack,
			"PULUMI_NODEJS_DRY_RUN="+dryRun, "PULUMI_DRY_RUN="+dryRun)
	}
	if err := h.start(cmd); err != nil {
		return err
	}
	defer h.forget(cmd)
	err = proxy.Attach(ctx, cmd)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return sender.send(&pulumirpc.RunPluginResponse{
			Output: &pulumirpc.RunPluginResponse_Exitcode{Exitcode: int32(exit.ExitCode())},
		})
	}
	return err
}

// Cancel asks what runs to end; the engine waits for the resource operations in flight on its own.
func (h *host) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	h.stopAll()
	return &emptypb.Empty{}, nil
}

func (h *host) start(cmd *exec.Cmd) error {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	h.running[cmd] = true
	return nil
}

func (h *host) forget(cmd *exec.Cmd) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.running, cmd)
}

func (h *host) stopAll() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for cmd := range h.running {
		// The error would be that it has ended already, which is what is wanted.
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
}

// configEnvironment is how @pulumi/pulumi receives a stack's configuration.
func configEnvironment(config map[string]string, secretKeys []string) ([]string, error) {
	if config == nil {
		config = map[string]string{}
	}
	if secretKeys == nil {
		secretKeys = []string{}
	}
	values, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	keys, err := json.Marshal(secretKeys)
	if err != nil {
		return nil, err
	}
	return []string{"PULUMI_CONFIG=" + string(values), "PULUMI_CONFIG_SECRET_KEYS=" + string(keys)}, nil
}

// nodeArguments is the `nodeargs` option of Pulumi.yaml, split at spaces.
func nodeArguments(options map[string]any) []string {
	arguments, _ := options["nodeargs"].(string)
	return strings.Fields(arguments)
}

// findRunner finds the Node.js and the runner of @pulumi/pulumi that belong to a program: the nearest node_modules
// above it, as Node.js itself would resolve them, without paying for a Node.js process to ask.
func findRunner(directory, name string) (node, runner string, err error) {
	node, err = findNode(directory)
	if err != nil {
		return "", "", err
	}
	relative := filepath.Join("@pulumi", "pulumi", "cmd", name, "index.js")
	if runner, found := inNodeModules(directory, relative); found {
		return node, runner, nil
	}
	// The words "Cannot find module" are those that the engine looks for to say that dependencies are not installed.
	return "", "", status.Errorf(codes.NotFound,
		"Cannot find module '@pulumi/pulumi/cmd/%s' from %s: run `npm ci` in the project", name, directory)
}

// findNode prefers the Node.js that the project pins as the npm package `node` over the machine's own.
func findNode(directory string) (string, error) {
	if node, found := inNodeModules(directory, filepath.Join(".bin", "node")); found {
		return node, nil
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return "", status.Errorf(codes.FailedPrecondition,
			"no Node.js: neither node_modules/.bin/node above %s nor `node` on PATH", directory)
	}
	return node, nil
}

func inNodeModules(directory, relative string) (string, bool) {
	for {
		candidate := filepath.Join(directory, "node_modules", relative)
		if _, err := os.Stat(candidate); err == nil {
			return candidate, true
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return "", false
		}
		directory = parent
	}
}

// sender serialises what a policy pack writes: a gRPC stream must not be written to from two goroutines at once.
type sender struct {
	mutex  sync.Mutex
	stream pulumirpc.LanguageRuntime_RunPluginServer
}

func (s *sender) send(message *pulumirpc.RunPluginResponse) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.stream.Send(message)
}

type writerFunc func([]byte) error

func (f writerFunc) Write(data []byte) (int, error) {
	if err := f(data); err != nil {
		return 0, err
	}
	return len(data), nil
}

func (s *sender) out() io.Writer {
	return writerFunc(func(data []byte) error {
		return s.send(&pulumirpc.RunPluginResponse{Output: &pulumirpc.RunPluginResponse_Stdout{Stdout: data}})
	})
}

func (s *sender) err() io.Writer {
	return writerFunc(func(data []byte) error {
		return s.send(&pulumirpc.RunPluginResponse{Output: &pulumirpc.RunPluginResponse_Stderr{Stderr: data}})
	})
}
