// Validates a template with Amazon's own rules, without network or credentials: node tools/cfnvalidate.mjs TEMPLATE
// It prints one finding per line, and fails if there is any. Warnings count, because a misspelt enum value is a warning.
import validate from '@aws/cloudformation-validate';

const allowed = [
  { ruleId: 'W3005', why: 'osls writes DependsOn in addition to GetAtt' },
  { ruleId: 'W9002', logicalId: 'UploadsBucketMayInvokeIngest', why: 'named without GetAtt, because bucket and permission would depend on each other' },
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
