// Amazon's own template validation (WebAssembly; no network, no credentials): node tools/cfnvalidate.mjs <template>
// Prints one finding a line and fails if there is any, warnings too: a misspelt enum value is only a warning to it.
import validate from '@aws/cloudformation-validate';

const allowed = [
  { ruleId: 'W3005', why: 'osls writes DependsOn beside GetAtt' },
  { ruleId: 'W9002', logicalId: 'UploadsBucketMayInvokeIngest', why: 'by name, not by GetAtt: bucket and permission would wait for each other' },
];

const engine = new validate.CelEngine();
let findings = 0;
try {
  const report = engine.validateStandard(new validate.TemplateFile(process.argv[2]), { severityLevel: 'WARN', pseudoParameterOverrides: {} });
  for (const d of report.diagnostics) {
    if (allowed.some((a) => a.ruleId === d.ruleId && (a.logicalId ?? d.entity?.logicalId) === d.entity?.logicalId)) continue;
    findings++;
    console.log([d.severity, d.ruleId, d.entity?.logicalId ?? '', d.propertyPath ?? '', d.message].join(' '));
  }
} finally {
  engine.free();
}
process.exit(findings ? 1 : 0);
